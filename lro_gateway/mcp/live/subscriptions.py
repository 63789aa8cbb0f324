"""subscriptions/listen: a stream of notifications about tasks, operations and the list of tools."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Literal

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.exceptions import MCPError

from lro_gateway.access.expiry import until_expiry
from lro_gateway.errors import JSON
from lro_gateway.mcp.failures import list_errors
from lro_gateway.mcp.live.followers import Followers
from lro_gateway.mcp.operation_uris import request_of
from lro_gateway.mcp.tasks.extension import detailed
from lro_gateway.mcp.tasks.tasks import Tasks, TaskState
from lro_gateway.mcp.wire import require_extension
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService
from lro_gateway.service.shutdown import UntilShutdown

_SETTING: Final = "limits.max_subscriptions_per_stream"
_TASK_IDS: Final = "taskIds"
MAX_FOLLOWED: Final = 100
"""The default for the number of tasks, and of resources, that one stream may follow."""


class _TaskNotification(types.Notification[dict[str, Any], Literal["notifications/tasks"]]):
    """The notification of a task of the extension.

    The task is a dict, because a pydantic model would omit the required `ttlMs: null`.
    """

    method: Literal["notifications/tasks"] = "notifications/tasks"
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Stream:
    """The response stream of one request, as a destination of notifications."""

    context: ServerRequestContext[Any]
    meta: dict[str, Any]

    def of_task(self, task_id: str, state: TaskState) -> _TaskNotification:
        task = detailed(task_id, state)
        del task["resultType"]  # this is a notification, not a result
        return _TaskNotification(params={**task, "_meta": {**task.get("_meta", {}), **self.meta}})

    async def send(self, notification: Any) -> None:
        await self.context.session.send_notification(
            notification, related_request_id=self.context.request_id
        )


@dataclass(frozen=True, slots=True)
class _Subscription:
    """The tasks, the operations and the list of tools that one stream follows."""

    task_ids: list[str]
    uris: list[str]
    tools: bool


class Subscriptions:
    """Serves subscriptions/listen.

    A stream ends when the client disconnects, when everything that it follows has ended, when the
    credentials of its caller end, or when the gateway shuts down.
    """

    def __init__(
        self,
        service: OperationService,
        tasks: Tasks,
        followers: Followers,
        max_followed: int = MAX_FOLLOWED,
    ) -> None:
        """Set `max_followed`, the maximum number of tasks, and of resources, of one stream."""
        self.max_followed = max_followed
        self._service = service
        self._tasks = tasks
        self._followers = followers

    async def listen(
        self,
        context: ServerRequestContext[Any],
        caller: Principal,
        params: types.SubscriptionsListenRequestParams,
    ) -> types.SubscriptionsListenResult:
        """Acknowledge the subscription, then send the state of each task, and every change.

        The acknowledgement omits unknown task ids.
        """
        task_ids = _task_ids(params, self.max_followed)
        if task_ids:
            require_extension(context)
        subscription = _Subscription(
            [each for each in task_ids if self._tasks.is_known(caller, each)],
            _uris(params, self.max_followed),
            bool(params.notifications.tools_list_changed),
        )
        with list_errors():
            self._service.check_watches(caller, len(subscription.task_ids) + len(subscription.uris))
        stream = _Stream(context, {SUBSCRIPTION_ID_META_KEY: context.request_id})
        await stream.send(_acknowledgement(stream.meta, subscription))
        with list_errors():
            async with until_expiry(caller):
                with UntilShutdown(self._service.shutdown):
                    await self._follow(stream, caller, subscription)
        return types.SubscriptionsListenResult(_meta=stream.meta)

    async def _follow(
        self, stream: _Stream, caller: Principal, subscription: _Subscription
    ) -> None:
        follows = [
            *(self._followers.follow_resource(stream, caller, uri) for uri in subscription.uris),
            *(self._followers.follow_task(stream, caller, each) for each in subscription.task_ids),
        ]
        if subscription.tools:
            follows.append(self._followers.follow_tools(stream, caller))
        if len(follows) == 1:
            # Most streams follow one thing. Measured: a group and its task would take 3 KB.
            await follows.pop()
            return
        async with asyncio.TaskGroup() as group:
            for each in follows:
                group.create_task(each)


def _task_ids(params: types.SubscriptionsListenRequestParams, most: int) -> list[str]:
    given: JSON = params.notifications.model_extra or {}
    found = given.get(_TASK_IDS) or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise MCPError(types.INVALID_PARAMS, f"{_TASK_IDS} must be a list of task ids")
    unique = list(dict.fromkeys(found))
    if len(unique) > most:
        raise too_many(f"{_TASK_IDS} may hold at most {most} ids", most)
    return unique


def _uris(params: types.SubscriptionsListenRequestParams, most: int) -> list[str]:
    """Return the requested URIs that name operations, without duplicates."""
    unique = dict.fromkeys(params.notifications.resource_subscriptions or ())
    if len(unique) > most:
        raise too_many(f"resourceSubscriptions may hold at most {most} URIs", most)
    return [uri for uri in unique if request_of(uri) is not None]


def too_many(problem: str, most: int) -> MCPError:
    """Return the error of a client that wants to follow more than one stream may follow."""
    data = {"reason": "TOO_MANY_STREAMS", "metadata": {"limit": str(most), "setting": _SETTING}}
    return MCPError(types.INVALID_PARAMS, f"{problem}; see {_SETTING}", data)


def _acknowledgement(
    meta: dict[str, Any], subscription: _Subscription
) -> types.SubscriptionsAcknowledgedNotification:
    honored: JSON = {"toolsListChanged": True} if subscription.tools else {}
    if subscription.uris:
        honored["resourceSubscriptions"] = subscription.uris
    if subscription.task_ids:
        honored[_TASK_IDS] = subscription.task_ids
    return types.SubscriptionsAcknowledgedNotification(
        params=types.SubscriptionsAcknowledgedNotificationParams(
            notifications=types.SubscriptionFilter.model_validate(honored), _meta=meta
        )
    )
