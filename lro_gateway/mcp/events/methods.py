"""The methods of MCP Events, and the capabilities that announce them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, Final

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server

from lro_gateway.access.expiry import until_expiry
from lro_gateway.deliveries.deliveries import Deliveries
from lro_gateway.deliveries.feed import MOST, cursor_of
from lro_gateway.deliveries.happenings import KINDS
from lro_gateway.deliveries.messages import occurrence
from lro_gateway.deliveries.selecting import canonical, canonical_or_ended
from lro_gateway.deliveries.subscribing import WebhookRequest
from lro_gateway.errors import JSON, StatusError
from lro_gateway.mcp.caller import CallerOf
from lro_gateway.mcp.events.failures import Codes
from lro_gateway.mcp.events.kinds import described
from lro_gateway.mcp.events.requests import (
    Params,
    PollParams,
    SelectingParams,
    StreamParams,
    SubscribeParams,
    UnsubscribeParams,
    age,
    max_age,
    parsed,
    selection_of,
)
from lro_gateway.mcp.events.status import delivery_status
from lro_gateway.mcp.events.streaming import HEARTBEAT, EventStream
from lro_gateway.mcp.wire import check_cursor, is_modern, timestamp
from lro_gateway.principal import Principal
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import EventPage, Selection
from lro_gateway.service.service import OperationService
from lro_gateway.service.shutdown import UntilShutdown

EXTENSION: Final = "io.modelcontextprotocol/events"
"""The identifier of the extension (SEP-3415)."""
_POLL_MS: Final = 5000
_SHORTEST: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(days=30)
_DEFAULT: Final = timedelta(hours=24)

_Context = ServerRequestContext[Any, Any]


class EventMethods:
    """Serves events/list, subscribe, unsubscribe, poll and stream."""

    def __init__(
        self,
        service: OperationService,
        deliveries: Deliveries,
        caller_of: CallerOf,
        codes: Codes,
    ) -> None:
        self._service = service
        self._deliveries = deliveries
        self._caller_of = caller_of
        self._codes = codes

    def register(self, server: Server[Any]) -> None:
        """Add the methods to a server, and a middleware that announces them."""
        add = server.add_request_handler
        add("events/list", types.PaginatedRequestParams, self._list)
        add("events/poll", Params, self._poll)
        add("events/stream", Params, self._stream)
        add("events/subscribe", Params, self._subscribe)
        add("events/unsubscribe", Params, self._unsubscribe)
        server.middleware.append(_announce)

    async def _list(self, context: _Context, params: types.PaginatedRequestParams | None) -> JSON:
        check_cursor(params)
        may_subscribe = self._deliveries.subscribing.may_subscribe(self._caller_of(context))
        return _result(context, events=described(with_webhooks=may_subscribe))

    async def _poll(self, context: _Context, given: Params) -> JSON:
        caller = self._caller_of(context)
        with self._codes.translated():
            params = parsed(PollParams, given)
            selection = await self._selection(caller, params)
            page = await self._deliveries.page(
                caller,
                selection,
                params.cursor,
                max_age=max_age(params),
                limit=params.max_events or MOST,
            )
        return _result(
            context,
            events=[occurrence(each) for each in page.events],
            cursor=cursor_of(page.end),
            truncated=page.truncated,
            hasMore=page.has_more,
            nextPollMs=0 if page.has_more else _POLL_MS,
        )

    async def _stream(self, context: _Context, given: Params) -> JSON:
        """Send events until the client leaves, its credentials end, or the gateway stops."""
        caller = self._caller_of(context)
        stream = EventStream(context, self._codes)
        with self._codes.translated():
            params = parsed(StreamParams, given)
            selection = await self._selection(caller, params)

            # Without a cursor nothing is past, and what comes is never too old.
            bound = max_age(params) if params.cursor is not None else None
            oldest = None if bound is None else now() - bound

            def pages_after(cursor: str | None) -> AsyncGenerator[EventPage]:
                return self._deliveries.stream(
                    caller, selection, cursor, oldest=oldest, every=HEARTBEAT
                )

            try:
                async with until_expiry(caller):
                    with UntilShutdown(self._service.shutdown):
                        await stream.send_events(pages_after, params.cursor)
            except StatusError as error:
                if not stream.is_active:
                    raise
                await stream.terminate(error)
        return _result(context, _meta=stream.meta)

    async def _subscribe(self, context: _Context, given: Params) -> JSON:
        caller = self._caller_of(context)
        with self._codes.translated():
            self._deliveries.subscribing.check_caller(caller)
            params = parsed(SubscribeParams, given)
            self._check_mode(params.delivery.mode)
            selection = await self._selection(caller, params)
            ttl = _granted(params)
            request = WebhookRequest(
                "mcp", params.delivery.url, selection, params.delivery.secret, ttl
            )
            made = await self._deliveries.subscribe(
                caller, request, cursor=params.cursor, max_age=max_age(params)
            )
        expires = made.subscription.expires
        more = {} if made.before is None else {"deliveryStatus": delivery_status(made.before)}
        return _result(
            context,
            id=made.subscription.id,
            refreshBefore=None if expires is None else timestamp(expires),
            cursor=made.cursor,
            truncated=made.truncated,
            **more,
        )

    async def _unsubscribe(self, context: _Context, given: Params) -> JSON:
        caller = self._caller_of(context)
        with self._codes.translated(missing="subscription"):
            self._deliveries.subscribing.check_caller(caller)
            params = parsed(UnsubscribeParams, given)
            self._check_mode(params.delivery.mode)
            selection = await self._selection(caller, params, may_be_ended=True)
            request = WebhookRequest("mcp", params.delivery.url, selection)
            if not await self._deliveries.subscribing.unsubscribe(caller, request):
                message = "there is no such subscription; it may have ended"
                raise self._codes.error("not_found", message, kind="subscription")
        return _result(context)

    async def _selection(
        self, caller: Principal, params: SelectingParams, *, may_be_ended: bool = False
    ) -> Selection:
        name = params.name
        if name not in KINDS:
            message = f"there is no such event; there are: {', '.join(KINDS)}"
            raise self._codes.error("not_found", message, kind="event")
        read = canonical_or_ended if may_be_ended else canonical
        return await read(self._service, caller, selection_of(name, params.arguments or {}))

    def _check_mode(self, mode: str) -> None:
        if mode != "webhook":
            message = "only webhooks are subscribed to; poll and stream have methods of their own"
            raise self._codes.error("unsupported", message, feature="deliveryMode", value=mode)


def _granted(params: SubscribeParams) -> timedelta | None:
    """Return the life of a subscription, or None if the client asked for one without an end.

    A life that is too short or too long is no error (SEP-3415).
    """
    if params.ttl_ms is None:
        return None if "ttl_ms" in params.model_fields_set else _DEFAULT
    return min(max(age(max(params.ttl_ms, 0)), _SHORTEST), _LONGEST)


def _result(context: _Context, **content: Any) -> JSON:
    return {"resultType": "complete", **content} if is_modern(context) else content


async def _announce(ctx: _Context, call_next: CallNext) -> HandlerResult:
    """Announce events in both ways, because some clients read only one of them."""
    result = await call_next(ctx)
    if ctx.method in {"initialize", "server/discover"} and isinstance(result, dict):
        capabilities = result["capabilities"]
        capabilities.setdefault("extensions", {})[EXTENSION] = {}
        capabilities["events"] = {}
    return result
