"""The watches of a gateway, each of which any number of readers share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass

from lro_gateway.backends.backend import Backend
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import StatusError, code_name
from lro_gateway.operations.names import BackendName
from lro_gateway.principal import Reader
from lro_gateway.service.budget import Budgets
from lro_gateway.service.reads import Key, Reads
from lro_gateway.service.shared_timers import SharedTimers
from lro_gateway.service.shared_watches import SharedWatches
from lro_gateway.service.shutdown import Shutdown, shutting_down
from lro_gateway.service.watch import Listener, Sighting, Watch
from lro_gateway.service.watch_bounds import WatchBounds
from lro_gateway.service.watch_polls import WatchPolls
from lro_gateway.telemetry.spans import StreamSpan


@dataclass(frozen=True, slots=True)
class CallerStream:
    """A stream for a caller: its name in traces, and the check that must pass before it begins."""

    name: str
    authorize: Callable[[], Awaitable[object]]


class Watches:
    """The watches of a gateway. A watch starts with its first reader and ends with its last one."""

    def __init__(
        self,
        tasks: BackgroundTasks,
        reads: Reads,
        budgets: Budgets,
        shutdown: Shutdown,
        bounds: WatchBounds | None = None,
        sharing: SharedWatches | None = None,
    ) -> None:
        self._bounds = bounds or WatchBounds()
        self._shutdown = shutdown
        self._watches: dict[Key, Watch] = {}
        self._timers = SharedTimers()
        self._polls = WatchPolls(tasks, reads, budgets, sharing)

    def __len__(self) -> int:
        """Return the number of watched operations."""
        return len(self._watches)

    async def follow(
        self,
        reader: Reader,
        backend: Backend,
        name: BackendName,
        *,
        every: float | None = None,
        ends_soon: bool = False,
        stream: CallerStream | None = None,
    ) -> AsyncGenerator[Sighting]:
        """Yield the current state at once, then every newer one, until the operation is done.

        The latest sighting is repeated after `every` seconds without a newer one, or up to a
        sixteenth of this time sooner. Errors that `Patience` outlasts are yielded as the `outage`
        of a sighting once there is a state, and other errors are raised, such as TOO_MANY_WATCHES.
        A reader that stops early must close the generator. With `ends_soon` the operation is polled
        often at first. A `stream` has a span and metrics.
        """
        with StreamSpan("watch", stream.name) if stream is not None else nullcontext() as span:
            if stream is not None:
                await stream.authorize()
                # A stream may last for hours, and its check would stay in memory with it.
                stream = None
            watch = self._joined(reader, backend, name, ends_soon=ends_soon)
            watch.span.link(span)
            version = 0
            try:
                while True:
                    version = await watch.newer(version, every, self._timers)
                    if watch.failure is not None:
                        # All readers raise this one error. Its traceback would keep their frames in
                        # memory.
                        raise watch.failure.with_traceback(None)
                    if (sighting := watch.sighting) is not None:
                        yield sighting
                        # While a slow reader had this one, the operation may have ended.
                        if sighting.operation.done:
                            return
            finally:
                self._leave(reader, watch)

    def listen(
        self, reader: Reader, backend: Backend, name: BackendName, listener: Listener
    ) -> Watch:
        """Call a listener after each change of an operation, until `unlisten`; return its watch.

        The watch may have a state already. Raises TOO_MANY_WATCHES.
        """
        watch = self._joined(reader, backend, name, ends_soon=False)
        watch.listen(listener)
        return watch

    def unlisten(self, reader: Reader, watch: Watch, listener: Listener) -> None:
        """End what `listen` has begun."""
        watch.unlisten(listener)
        self._leave(reader, watch)

    def _joined(
        self, reader: Reader, backend: Backend, name: BackendName, *, ends_soon: bool
    ) -> Watch:
        """Return the watch of an operation with one more reader. Start it if it is new."""
        if self._shutdown.has_begun:
            raise _shutting_down()
        self._bounds.enter(reader, backend.name)
        watch = self._watches.get((backend.key, name))
        # Readers that have not seen the end still use an ended watch. A new reader gets a new one.
        if watch is None or watch.has_ended:
            watch = Watch(backend, name)
            self._watches[watch.key] = watch
            self._polls.begin(watch, ends_soon=ends_soon)
        watch.readers.join(reader)
        return watch

    def _leave(self, reader: Reader, watch: Watch) -> None:
        self._bounds.leave(reader, watch.backend.name)
        watch.readers.leave(reader)
        if not watch.readers:
            self._end(watch)

    def expect_change(self, backend: Backend, name: BackendName) -> None:
        """Poll a watched operation at once and then often, because it will probably change soon."""
        watch = self._watches.get((backend.key, name))
        if watch is not None:
            self._polls.hurry(watch)

    def close(self) -> None:
        """Raise UNAVAILABLE in every reader, and poll no more, because the gateway stops."""
        for watch in [*self._watches.values()]:
            self._polls.end(watch)
            watch.fail(_shutting_down())

    def _end(self, watch: Watch) -> None:
        if self._watches.get(watch.key) is watch:
            del self._watches[watch.key]
        self._polls.end(watch)
        watch.span.end(code_name(watch.failure.status.code) if watch.failure else "OK")
        # An error refers to its frames, and the frames refer to the watch. This line breaks that
        # cycle. Otherwise the watch would stay in memory until the garbage collector finds it.
        watch.failure = None


def _shutting_down() -> StatusError:
    return shutting_down("the operation goes on, so call again")
