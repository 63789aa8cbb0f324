"""Shares the work between replicas: beats, takeovers, and the handover of a process that stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from lro_gateway.background import BackgroundTasks, race
from lro_gateway.deliveries.sending import Sender
from lro_gateway.deliveries.tracking import Trackers
from lro_gateway.errors import StatusError
from lro_gateway.service.shutdown import Shutdown

logger: Final = logging.getLogger(__name__)

_ROUND: Final = 2.0
"""Seconds between two looks at the store: for beats, and for operations that nobody follows."""
_STEP: Final = 1.5
"""Seconds that each step of the handover may take."""


class Sharing:
    """The work of this process that lets each operation have one follower in all processes.

    `replicas` are the processes that share the store. `told` is called after each event of another
    process.
    """

    def __init__(
        self,
        tasks: BackgroundTasks,
        replicas: Any,
        trackers: Trackers,
        sender: Sender,
        shutdown: Shutdown,
        told: Callable[[], None],
    ) -> None:
        self._tasks = tasks
        self._replicas = replicas
        self._trackers = trackers
        self._sender = sender
        self._shutdown = shutdown
        self._told = told
        self._is_unsure = False
        self._shown: float | None = None
        """When this process last showed that it runs, in seconds of the loop."""
        self._hurries = asyncio.Event()
        self._stops = asyncio.Event()

    @asynccontextmanager
    async def running(
        self, work: Callable[[], Coroutine[Any, Any, None]], look: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[None]:
        """Run `work`, call `look` every two seconds, and take over from processes that have died.

        All this ends with the context, or when the gateway begins to stop.
        """
        # Others take over only from a process that has shown that it runs.
        await self._attempt(self.take_over)
        working = [work(), self._rounds(self.take_over), self._rounds(look)]
        running = [self._tasks.start(each) for each in working]
        leaving = self._tasks.start(self._leave_in_time(running))
        listening = []
        if self._replicas.is_shared:
            listening.append(self._tasks.start(self._replicas.listen(self._heard)))
        try:
            yield
        finally:
            self._stops.set()
            await asyncio.wait([leaving])
            for task in listening:
                task.cancel()

    async def take_over(self) -> None:
        """Show that this process runs, and take over the work that no living process owns.

        If it could not show that in time, others may have taken over, so its trackers end until the
        store says what it has.
        """
        # If something fails half-way, the next call must look at everything.
        is_unsure, self._is_unsure = self._is_unsure, True
        began = asyncio.get_running_loop().time()
        looking = asyncio.ensure_future(self._replicas.look(is_unsure=is_unsure))
        try:
            is_late = await self._is_late(looking)
            if is_late:
                await self._trackers.stop()
            taken = await looking
        finally:
            looking.cancel()
        self._shown = began
        if taken.was_dead or is_late:
            await self._trackers.stop()
            # Trackers may have written events meanwhile.
            taken = await self._replicas.own()
        self._trackers.resume(taken.tracked)
        await self._sender.take_over(taken.deliveries)
        self._is_unsure = False

    async def _is_late(self, looking: asyncio.Future[Any]) -> bool:
        """Wait for a look at the store; return True once it counts as dead meanwhile."""
        if not self._replicas.is_shared or self._shown is None:
            return False
        left = self._shown + self._replicas.lease - asyncio.get_running_loop().time()
        await asyncio.wait([looking], timeout=max(left, 0))
        return left <= 0 or not looking.done()

    async def _leave_in_time(self, running: Sequence[asyncio.Task[None]]) -> None:
        """Hand over when the gateway begins to stop, because its last requests may take long."""
        await race(self._shutdown.wait(), self._stops.wait())
        for task in running:
            task.cancel()
        await self._trackers.stop()
        steps = [self._sender.drain]
        if self._replicas.is_shared:
            steps = [self._replicas.leave_operations, self._sender.drain, self._replicas.leave]
        for step in steps:
            try:
                async with asyncio.timeout(_STEP):
                    await step()
            except TimeoutError:
                # Deliveries that were sent and not recorded will be sent again.
                logger.warning(
                    "some work was not handed over in time, and other replicas find it later"
                )
            except StatusError as error:
                logger.warning(
                    "some work was not handed over, and other replicas find it later: %s", error
                )

    async def _rounds(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_ROUND):
                    await self._hurries.wait()
            self._hurries.clear()
            await self._attempt(step)

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except StatusError as error:
            logger.warning(
                "events and deliveries are late, and the next round tries again: %s", error
            )
        except Exception:
            logger.exception("a round of the deliveries failed")

    def _heard(self, has_left: bool) -> None:
        """Note that another process has written an event, or that it stops."""
        self._told()
        if has_left:
            self._hurries.set()
