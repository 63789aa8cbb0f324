"""The notifications of events/stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY

from lro_gateway.deliveries.feed import cursor_of
from lro_gateway.deliveries.messages import occurrence
from lro_gateway.errors import JSON, StatusError
from lro_gateway.mcp.events.failures import Codes
from lro_gateway.records.event_entries import EventPage
from lro_gateway.service.patience import Patience

HEARTBEAT: Final = 25.0
"""Seconds after which a stream without events tells its cursor."""

PagesAfter = Callable[[str | None], AsyncGenerator[EventPage]]
"""Yields a page without events at once, and then those after a cursor."""


class _Notification(types.Notification[dict[str, Any], str]):
    """A notification of a stream of events."""

    method: str
    params: dict[str, Any]


class EventStream:
    """One stream: it begins with `active`, and ends with `terminated` if it cannot go on.

    If an error may pass, the stream sends it and goes on after its last cursor (SEP-3415).
    """

    def __init__(self, context: ServerRequestContext[Any, Any], codes: Codes) -> None:
        self.meta: JSON = {SUBSCRIPTION_ID_META_KEY: context.request_id}
        self.is_active = False
        self._context = context
        self._codes = codes
        self._patience = Patience()

    async def send_events(self, pages_after: PagesAfter, cursor: str | None) -> None:
        """Send events until the reader stops. Raises an error that lasts, or that comes first."""
        while True:
            try:
                async with aclosing(pages_after(cursor)) as pages:
                    async for page in pages:
                        cursor = cursor_of(page.end)
                        await self._send_page(page, cursor)
                        self._patience = Patience()
            except StatusError as error:
                if not self.is_active:
                    raise
                pause = self._patience.pause_after(error)
                await self._send_failure("error", error)
                await asyncio.sleep(pause)

    async def terminate(self, error: StatusError) -> None:
        """Tell why the stream ends."""
        await self._send_failure("terminated", error)

    async def _send_page(self, page: EventPage, cursor: str) -> None:
        if not self.is_active or page.truncated:
            await self._send("active", cursor=cursor, truncated=page.truncated)
            self.is_active = True
        elif not page.events:
            await self._send("heartbeat", cursor=cursor)
        for each in page.events:
            await self._send("event", **occurrence(each), cursor=cursor_of(each.position, each.at))

    async def _send_failure(self, kind: str, failure: StatusError) -> None:
        error = self._codes.error_of(failure).error
        await self._send(kind, error=error.model_dump(mode="json", exclude_none=True))

    async def _send(self, kind: str, **content: Any) -> None:
        notification = _Notification(
            method=f"notifications/events/{kind}", params={**content, "_meta": self.meta}
        )
        await self._context.session.send_notification(
            notification,  # type: ignore[arg-type]  # the SDK's union has no events
            related_request_id=self._context.request_id,
        )
