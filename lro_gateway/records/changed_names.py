"""Which names in the store are others now, by the configuration, without SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lro_gateway.operations.names import NameMapping


@dataclass(frozen=True, slots=True)
class Retranslation:
    """The former patterns of a backend, and what returns the present name for one in the store."""

    former: Sequence[NameMapping]
    present: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class StoredNames:
    """The present names of backends by their former ones, and the backends with other patterns."""

    former: Mapping[str, str] = field(default_factory=dict)
    retranslated: Mapping[str, Retranslation] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether the store may have something under a former name."""
        return bool(self.former or self.retranslated)


NO_CHANGES: Final = StoredNames()
