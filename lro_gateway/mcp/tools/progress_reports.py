"""Sends notifications/progress to a client while its call waits."""

from __future__ import annotations

from typing import Final

from mcp.server.session import ServerSession

from lro_gateway.mcp import words
from lro_gateway.service.watch import Sighting

_STEP: Final = 0.001
_WHOLE: Final = 100.0


class ProgressReports:
    """Reports the progress of one call, if the client has sent a progressToken.

    MCP requires that each value is larger than the one before. The value is the percentage in the
    operation's metadata. If that percentage has not grown, the value grows by 0.001.
    """

    def __init__(self, session: ServerSession) -> None:
        self._session = session
        self._last = 0.0

    async def report(self, sighting: Sighting) -> None:
        """Send the state of the operation to the client."""
        self._last = max(self._last + _STEP, sighting.percent or 0.0)
        total = max(_WHOLE, self._last) if sighting.percent is not None else None
        await self._session.report_progress(self._last, total, words.describe_sighting(sighting))
