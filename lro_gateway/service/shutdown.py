"""Shutdown: the signal that the gateway stops, and the error that waiting callers get."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from lro_gateway.errors import Code, StatusError, status_error


class Shutdown:
    """A signal that is set when the gateway starts to stop, and that is never cleared."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether the gateway is stopping."""
        return self._stopping.is_set()

    def begin(self) -> None:
        """Set the signal, which ends every `wait`."""
        self._stopping.set()

    async def wait(self) -> None:
        """Wait until the gateway starts to stop."""
        await self._stopping.wait()


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
