"""subscriptions/listen: one stream that tells of tasks, operations, and the list of tools."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.exceptions import MCPError

from lro_gateway.background import race
from lro_gateway.errors import JSON
from lro_gateway.mcp.live.resources import request_of, updates
from lro_gateway.mcp.tasks.extension import detailed
from lro_gateway.mcp.tasks.tasks import Tasks
from lro_gateway.mcp.tools.toolbox import ToolChanges
from lro_gateway.mcp.wire import require_extension
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService

_TASK_IDS: Final = "taskIds"
_MOST_TASKS: Final = 100
"""The most tasks that one stream may follow."""


class _TaskNotification(types.Notification[dict[str, Any], Literal["notifications/tasks"]]):
    """The full task, as a dict: a model would lose `ttlMs: null`."""

    method: Literal["notifications/tasks"] = "notifications/tasks"
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Stream:
    """The stream that one request's answer is."""

    context: ServerRequestContext[Any]
    meta: dict[str, Any]

    async def send(self, notification: Any) -> None:
        await self.context.session.send_notification(
            notification, related_request_id=self.context.request_id
        )


class Subscriptions:
    """Serves subscriptions/listen until the client leaves, or all that it follows has ended.

    Or until the gateway stops: it need not wait for who listens.
    """

    def __init__(
        self,
        service: OperationService,
        tasks: Tasks,
        tool_changes: ToolChanges,
    ) -> None:
        self._service = service
        self._tasks = tasks
        self._tool_changes = tool_changes

    async def listen(
        self,
        context: ServerRequestContext[Any],
        caller: Principal,
        params: types.SubscriptionsListenRequestParams,
    ) -> types.SubscriptionsListenResult:
        """Acknowledge first, with what will be told; then tell how each task stands, and changes.

        Task ids that lead nowhere are left out of the acknowledgement.
        """
        task_ids = _task_ids(params)
        if task_ids:
            require_extension(context)
        task_ids = [each for each in task_ids if self._tasks.knows(caller, each)]
        stream = _Stream(context, {SUBSCRIPTION_ID_META_KEY: context.request_id})
        tools = bool(params.notifications.tools_list_changed)
        uris = _uris(params)
        await stream.send(_acknowledgement(stream.meta, tools, task_ids, uris))
        following = self._follow(stream, caller, task_ids, uris, tools=tools)
        await race(following, self._service.shutdown.wait())
        return types.SubscriptionsListenResult(_meta=stream.meta)

    async def _follow(
        self,
        stream: _Stream,
        caller: Principal,
        task_ids: list[str],
        uris: list[str],
        *,
        tools: bool,
    ) -> None:
        async with asyncio.TaskGroup() as group:
            for uri in uris:
                group.create_task(self._follow_resource(stream, caller, uri))
            for task_id in task_ids:
                group.create_task(self._follow_task(stream, caller, task_id))
            if tools:
                group.create_task(self._follow_tools(stream, caller))

    async def _follow_task(self, stream: _Stream, caller: Principal, task_id: str) -> None:
        try:
            async with aclosing(self._tasks.watch(caller, task_id)) as states:
                async for state in states:
                    told = detailed(task_id, state)
                    del told["resultType"]  # this is a notification, not a result
                    await stream.send(_TaskNotification(params={**told, "_meta": stream.meta}))
        except MCPError:
            # The task is no more, or its backend refuses: tasks/get tells whoever asks.
            return

    async def _follow_resource(self, stream: _Stream, caller: Principal, uri: str) -> None:
        async with aclosing(updates(self._service, caller, uri)) as changes:
            async for _ in changes:
                params = types.ResourceUpdatedNotificationParams(uri=uri, _meta=stream.meta)
                await stream.send(types.ResourceUpdatedNotification(params=params))

    async def _follow_tools(self, stream: _Stream, caller: Principal) -> None:
        params = types.NotificationParams(_meta=stream.meta)
        async for _ in self._tool_changes(caller):
            await stream.send(types.ToolListChangedNotification(params=params))


def _task_ids(params: types.SubscriptionsListenRequestParams) -> list[str]:
    asked: JSON = params.notifications.model_extra or {}
    found = asked.get(_TASK_IDS) or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise MCPError(types.INVALID_PARAMS, f"{_TASK_IDS} must be a list of task ids")
    unique = list(dict.fromkeys(found))
    if len(unique) > _MOST_TASKS:
        raise MCPError(types.INVALID_PARAMS, f"{_TASK_IDS} may hold at most {_MOST_TASKS} ids")
    return unique


def _uris(params: types.SubscriptionsListenRequestParams) -> list[str]:
    """Return the resources to follow that are operations."""
    asked = dict.fromkeys(params.notifications.resource_subscriptions or ())
    if len(asked) > _MOST_TASKS:
        raise MCPError(
            types.INVALID_PARAMS, f"resourceSubscriptions may hold at most {_MOST_TASKS} URIs"
        )
    return [uri for uri in asked if request_of(uri) is not None]


def _acknowledgement(
    meta: dict[str, Any], tools: bool, task_ids: list[str], uris: list[str]
) -> types.SubscriptionsAcknowledgedNotification:
    honored: JSON = {"toolsListChanged": True} if tools else {}
    if uris:
        honored["resourceSubscriptions"] = uris
    if task_ids:
        honored[_TASK_IDS] = task_ids
    return types.SubscriptionsAcknowledgedNotification(
        params=types.SubscriptionsAcknowledgedNotificationParams(
            notifications=types.SubscriptionFilter.model_validate(honored), _meta=meta
        )
    )
