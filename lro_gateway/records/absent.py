"""Operations in the store whose backends the configuration does not have."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from lro_gateway.errors import StatusError

logger: Final = logging.getLogger(__name__)

_ABSENT: Final = (
    "the store has operations of backend %r that have not ended: %d; the configuration has no"
    " backend of this name, so nobody can follow them through this gateway; if a backend had this"
    " name before, add it to the former_names of that backend"
)


class History(Protocol):
    """The history in the store."""

    async def numbers(self) -> Mapping[str, int]:
        """Return how many operations of each backend have not ended."""


async def report_absent(history: History, names: Collection[str], level: int) -> None:
    """Log at a level how many operations have backends of other names than these."""
    try:
        numbers = await history.numbers()
    except StatusError as error:
        logger.warning("the names of backends in the store cannot be read: %s", error.message)
        return
    for backend, number in numbers.items():
        if backend not in names:
            logger.log(level, _ABSENT, backend, number)
