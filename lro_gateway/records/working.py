"""The facts of the store about the work that is under way, without SQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from lro_gateway.operations.begun import Begun


@dataclass(frozen=True, slots=True)
class Running:
    """A running operation, as the gateway last saw it.

    `changed` is when its state, percentage or metadata last changed, and `seen` is when the gateway
    last heard of it.
    """

    backend: str
    method: str
    changed: dt.datetime
    seen: dt.datetime

    @property
    def unchanged(self) -> float:
        """For how many seconds the gateway has seen no change."""
        return max(0.0, (self.seen - self.changed).total_seconds())


class Unchanged(NamedTuple):
    """The method of a running operation, and since when it has not changed, since the epoch."""

    method: str
    since: float


class History(Protocol):
    """The facts of the store about running operations and past ones.

    All methods raise UNAVAILABLE if the store does not answer.
    """

    async def running(self, since: dt.datetime, /) -> Sequence[Running]:
        """Return the running operations that the gateway has heard of since a time."""

    async def durations(self, backend: str, method: str, limit: int, /) -> Sequence[float]:
        """Return the seconds that the latest succeeded operations of a method took."""

    async def numbers(self) -> Mapping[str, int]:
        """Return how many operations of each backend have not ended, by the states in the store."""

    async def names(self, backend: str, /) -> Sequence[str]:
        """Return the names of operations of a backend that have not ended, or 10,000 of them."""

    async def begun(self, backend: str, names: Sequence[str], /) -> Mapping[str, Begun]:
        """Return how those operations of a backend began that were started here, by name."""
