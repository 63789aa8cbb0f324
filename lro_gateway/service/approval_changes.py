"""Tells those who wait when the state of an approval has changed, here or on another replica."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import Final

from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import StatusError
from lro_gateway.records.approval import ApprovalRecords, ApprovalState

logger: Final = logging.getLogger(__name__)

_INTERVAL: Final = 1.0
"""Seconds between two reads of the states for which somebody waits."""


class ApprovalChanges:
    """Reads the states of all approvals that are waited for together, once a second."""

    def __init__(self, records: ApprovalRecords, tasks: BackgroundTasks) -> None:
        self._records = records
        self._tasks = tasks
        self._waiting: defaultdict[str, dict[asyncio.Event, ApprovalState]] = defaultdict(dict)
        self._polling: asyncio.Task[None] | None = None

    async def wait(self, id_: str, known: ApprovalState) -> None:
        """Wait until an approval has another state than the known one."""
        changed = asyncio.Event()
        self._waiting[id_][changed] = known
        if self._polling is None or self._polling.done():
            self._polling = self._tasks.start(self._poll())
        try:
            await changed.wait()
        finally:
            del self._waiting[id_][changed]
            if not self._waiting[id_]:
                del self._waiting[id_]

    def announce(self, id_: str) -> None:
        """Wake all who wait for an approval, whose state this process has changed."""
        for changed in self._waiting.get(id_, ()):
            changed.set()

    async def _poll(self) -> None:
        while self._waiting:
            await asyncio.sleep(_INTERVAL)
            try:
                found = await self._records.states([*self._waiting])
            except StatusError as error:
                logger.warning(
                    "the states of calls that wait for an approval cannot be read now: %s",
                    error.message,
                )
                continue
            for id_, waiting in self._waiting.items():
                for changed, known in waiting.items():
                    if found.get(id_) is not known:
                        changed.set()
