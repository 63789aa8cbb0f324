"""The owners of operations, which are the callers that started them, without SQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lro_gateway.principal import Principal


@dataclass(frozen=True, slots=True)
class Owner:
    """The identity of a caller that has started an operation."""

    issuer: str
    subject: str
    tenant: str

    @classmethod
    def of(cls, caller: Principal) -> Owner:
        """Return a caller as an owner."""
        return cls(*caller.identity)

    def is_of(self, other: Owner) -> bool:
        """Return whether what this owner started belongs to the other one or to its tenant.

        Without identities, everything belongs to the one caller that is not identified.
        """
        return self == other or (bool(other.tenant) and self.tenant == other.tenant)


ADOPTED: Final = Owner("\0", "", "")
"""Stands for the owner that an operation does not have, because a subscription has adopted it."""

Owned = Mapping[str, frozenset[Owner]]
"""The owners of operations, by canonical name. Several starts may have given one operation."""


@dataclass(frozen=True, slots=True)
class NamelessStart:
    """A start whose operation has no name here, because its answer is due or was lost.

    `is_due` is whether the answer may still come. `answer_by` is when its call has ended.
    """

    id: str
    owner: Owner
    started: dt.datetime
    answer_by: dt.datetime
    is_due: bool


class Owners(Protocol):
    """The record of the callers that started operations.

    The methods raise UNAVAILABLE if the store does not answer.
    """

    async def of(self, backend: str, names: Sequence[str]) -> Owned:
        """Return the owners of those operations of a backend that were started here.

        One that a subscription has adopted, and that nobody has started here, has `ADOPTED`.
        """

    async def examine(
        self, backend: str, names: Sequence[str]
    ) -> tuple[Sequence[NamelessStart], Owned]:
        """Return the nameless starts of a backend, and then the owners as `of` does.

        A start that gets its name between the two reads is in both answers or in the second one.
        """

    async def of_short_name(
        self, backends: Sequence[str], name: str
    ) -> Mapping[str, frozenset[Owner]]:
        """Return the owners of the operations started here with this short name, by backend."""
