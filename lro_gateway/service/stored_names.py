"""The names in the store that the configuration has changed, and those that it may have lost."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from lro_gateway.backends.router import Router
from lro_gateway.errors import StatusError
from lro_gateway.operations.names import NameMapping, split_full_name
from lro_gateway.records.changed_names import Retranslation, StoredNames
from lro_gateway.records.entries import recorded_names
from lro_gateway.records.working import History

logger: Final = logging.getLogger(__name__)

_ABSENT: Final = (
    "the store has operations of backend %r that have not ended: %d; the configuration has no"
    " backend of this name, so nobody can follow them through this gateway; if a backend had this"
    " name before, add it to the former_names of that backend"
)
_UNMATCHED: Final = (
    "the store has operations of backend %r that have not ended and whose names none of its"
    " operations patterns has: %d; if other patterns have translated these names before, nobody"
    " finds the operations; add those patterns to the former_operations of the backend, and start"
    " the gateway again"
)


@dataclass(frozen=True, slots=True)
class Naming:
    """The names of all backends, and the patterns of the names of their operations.

    Each has the present ones and the former ones, by the present name of the backend.
    """

    router: Router
    former: Mapping[str, Sequence[str]]
    patterns: Mapping[str, Sequence[NameMapping]]
    former_patterns: Mapping[str, Sequence[NameMapping]]

    @property
    def changes(self) -> StoredNames:
        """The names in the store that are others now."""
        return StoredNames(
            {old: new for new, names in self.former.items() for old in names},
            {
                name: Retranslation(patterns, partial(self.router.present_name, name))
                for name, patterns in self.former_patterns.items()
                if patterns
            },
        )

    async def report(self, history: History, level: int) -> None:
        """Log the numbers of running operations in the store that nobody can find by their names.

        `level` is that of the lines.
        """
        try:
            for backend, number in (await history.numbers()).items():
                if backend not in self.patterns:
                    logger.log(level, _ABSENT, backend, number)
                elif self.patterns[backend]:
                    names = await history.names(backend)
                    if lost := sum(self._is_lost(backend, name) for name in names):
                        logger.log(level, _UNMATCHED, backend, lost)
        except StatusError as error:
            logger.warning("the names of backends in the store cannot be read: %s", error.message)

    def _is_lost(self, backend: str, name: str) -> bool:
        """Return whether a name in the store is of no pattern, or is another one now."""
        if self.router.present_name(backend, name) not in recorded_names(backend, name):
            return True
        is_full = split_full_name(name)[0] is not None
        return not is_full and not any(each.gateway.match(name) for each in self.patterns[backend])
