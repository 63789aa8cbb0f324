"""Shutdown: the signal that the gateway stops, and the error that waiting callers get."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from lro_gateway.background import Interruption
from lro_gateway.errors import Code, StatusError, status_error


class Shutdown:
    """A signal that is set when the gateway starts to stop, and that is never cleared."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._ended: set[Interruption] = set()

    @property
    def has_begun(self) -> bool:
        """Whether the gateway is stopping."""
        return self._stopping.is_set()

    def begin(self) -> None:
        """Set the signal, which ends every `wait` and the body of every `UntilShutdown`."""
        self._stopping.set()
        for each in tuple(self._ended):
            each.interrupt()

    def end(self, interruption: Interruption) -> None:
        """Interrupt this once the gateway stops, until `spare`."""
        self._ended.add(interruption)
        if self.has_begun:
            asyncio.get_running_loop().call_soon(interruption.interrupt)

    def spare(self, interruption: Interruption) -> None:
        """Interrupt this no more."""
        self._ended.discard(interruption)

    async def wait(self) -> None:
        """Wait until the gateway starts to stop."""
        await self._stopping.wait()


class UntilShutdown(Interruption):
    """A context whose body ends early, and without an error, when the gateway starts to stop."""

    __slots__ = ("_shutdown",)

    def __init__(self, shutdown: Shutdown) -> None:
        super().__init__()
        self._shutdown = shutdown

    def __enter__(self) -> Self:
        """Let the shutdown end the body."""
        super().__enter__()
        self._shutdown.end(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Let the shutdown end nothing more."""
        self._shutdown.spare(self)
        return super().__exit__(kind, error, traceback)


def shutting_down(consequence: str, metadata: Mapping[str, str] | None = None) -> StatusError:
    """Return the UNAVAILABLE error of a call that the gateway ends because it stops.

    `consequence` completes the error text, such as "the operation goes on, so call again".
    """
    return status_error(
        Code.UNAVAILABLE,
        f"the gateway is shutting down; {consequence}",
        "GATEWAY_SHUTTING_DOWN",
        metadata=metadata,
    )
