"""The end of a gateway, as those who wait for something see it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from lro_gateway.errors import Code, StatusError, status_error


class Shutdown:
    """Whether the gateway has begun to stop."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether the gateway has begun to stop."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Tell everything that waits for it."""
        self._begun.set()

    async def wait(self) -> None:
        """Return once the gateway begins to stop."""
        await self._begun.wait()


def shutting_down(consequence: str, metadata: Mapping[str, str] | None = None) -> StatusError:
    """Make the UNAVAILABLE of a call that the gateway does not stay to answer.

    `consequence` tells the caller what has become of the work, and what to do.
    """
    return status_error(
        Code.UNAVAILABLE,
        f"the gateway is shutting down; {consequence}",
        "GATEWAY_SHUTTING_DOWN",
        metadata=metadata,
    )
