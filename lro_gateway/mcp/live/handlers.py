"""The methods with which clients subscribe to changes, and the capabilities that announce them."""

from __future__ import annotations

from typing import Any

import mcp_types as types
from anyio.abc import TaskGroup
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from lro_gateway.errors import JSON
from lro_gateway.mcp.caller import CallerOf
from lro_gateway.mcp.live.followers import Followers
from lro_gateway.mcp.live.session_pushes import SessionPushes
from lro_gateway.mcp.live.subscriptions import Subscriptions
from lro_gateway.mcp.operation_uris import TEMPLATE, request_of
from lro_gateway.mcp.wire import no_such_method
from lro_gateway.principal import Principal

_Context = ServerRequestContext[Any, Any]


class LiveMethods:
    """Serves subscriptions/listen.

    Over stdio, a session lasts longer than one request. There, it also serves resources/subscribe.
    """

    def __init__(
        self, subscriptions: Subscriptions, followers: Followers, caller_of: CallerOf
    ) -> None:
        self._caller_of = caller_of
        self._subscriptions = subscriptions
        self._followers = followers
        self._pushes: SessionPushes | None = None

    def push_to_sessions(self, group: TaskGroup) -> None:
        """From now on, send notifications to sessions. The senders run in the task group."""
        self._pushes = SessionPushes(group, self._followers, self._subscriptions.max_followed)

    def register(self, server: Server[Any]) -> None:
        """Add the methods to a server, and a middleware that announces their capabilities."""
        add = server.add_request_handler
        add("resources/subscribe", types.SubscribeRequestParams, self._subscribe)
        add("resources/unsubscribe", types.UnsubscribeRequestParams, self._unsubscribe)
        add("subscriptions/listen", types.SubscriptionsListenRequestParams, self._listen)
        server.middleware.append(self._announce)

    def follow_task(self, context: _Context, caller: Principal, task_id: str) -> None:
        """Over stdio, send each change of a task of 2025-11-25 to its session."""
        if self._pushes is not None:
            self._pushes.follow_task(context.session, caller, task_id)

    async def _announce(self, ctx: _Context, call_next: CallNext) -> HandlerResult:
        """Correct the capabilities in the result of `initialize` to those that the session has."""
        result = await call_next(ctx)
        if ctx.method != "initialize" or not isinstance(result, dict):
            return result
        if self._pushes is None:
            # Over HTTP a session ends with its request, so resources/subscribe is not offered.
            result["capabilities"].get("resources", {}).pop("subscribe", None)
        else:
            self._pushes.follow_tools(ctx.session, self._caller_of(ctx))
            result["capabilities"]["tools"]["listChanged"] = True
            result["capabilities"]["resources"]["subscribe"] = True
        return result

    async def _listen(
        self, context: _Context, params: types.SubscriptionsListenRequestParams
    ) -> HandlerResult:
        return await self._subscriptions.listen(context, self._caller_of(context), params)

    async def _subscribe(self, context: _Context, params: types.SubscribeRequestParams) -> JSON:
        if self._pushes is None:
            raise no_such_method(context)
        uri = str(params.uri)
        if request_of(uri) is None:
            raise MCPError(types.INVALID_PARAMS, f"uri must have the form {TEMPLATE}")
        self._pushes.follow_resource(context.session, self._caller_of(context), uri)
        return {}

    async def _unsubscribe(self, context: _Context, params: types.UnsubscribeRequestParams) -> JSON:
        if self._pushes is None:
            raise no_such_method(context)
        self._pushes.unfollow_resource(str(params.uri))
        return {}
