"""Notifications of changes to tasks, to operations as resources, and to the list of tools."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Protocol

import mcp_types as types
from mcp.shared.exceptions import MCPError

from lro_gateway.mcp.live.resources import updates
from lro_gateway.mcp.tasks.tasks import Tasks, TaskState
from lro_gateway.mcp.tools.toolbox import ToolChanges
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService

logger: Final = logging.getLogger(__name__)


class Destination(Protocol):
    """The receiver of notifications: the stream of one request, or a session."""

    @property
    def meta(self) -> dict[str, Any] | None:
        """The `_meta` of each notification, or None."""

    def of_task(self, task_id: str, state: TaskState) -> types.Notification[Any, Any]:
        """Return the notification of a task's state, in the form of the client's task protocol."""

    async def send(self, notification: types.Notification[Any, Any]) -> None:
        """Send a notification."""


class Followers:
    """Sends notifications of changes to a destination, until no more changes are possible.

    If one follower fails, the gateway logs the error, and the other followers continue.
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

    async def follow_task(
        self, to: Destination, caller: Principal, task_id: str, *, skip_first: bool = False
    ) -> None:
        """Send a task's state and each later state, until the task has ended.

        If `skip_first` is True, the first state is not sent, because the client has it already.
        """
        await _follow(to, self._of_task(to, caller, task_id, skip_first=skip_first))

    async def follow_resource(self, to: Destination, caller: Principal, uri: str) -> None:
        """Send notifications/resources/updated at each change of an operation, until it is done."""
        await _follow(to, self._of_resource(to, caller, uri))

    async def follow_tools(self, to: Destination, caller: Principal) -> None:
        """Send notifications/tools/list_changed whenever the caller's tools have changed."""
        await _follow(to, self._of_tools(to, caller))

    async def _of_task(
        self, to: Destination, caller: Principal, task_id: str, *, skip_first: bool
    ) -> AsyncGenerator[types.Notification[Any, Any]]:
        async with aclosing(self._tasks.watch(caller, task_id)) as states:
            if skip_first:
                await anext(states)
            async for state in states:
                yield to.of_task(task_id, state)

    async def _of_resource(
        self, to: Destination, caller: Principal, uri: str
    ) -> AsyncGenerator[types.Notification[Any, Any]]:
        params = types.ResourceUpdatedNotificationParams(uri=uri, _meta=to.meta)
        async with aclosing(updates(self._service, caller, uri)) as changes:
            async for _ in changes:
                yield types.ResourceUpdatedNotification(params=params)

    async def _of_tools(
        self, to: Destination, caller: Principal
    ) -> AsyncGenerator[types.Notification[Any, Any]]:
        params = types.NotificationParams(_meta=to.meta) if to.meta else None
        async for _ in self._tool_changes(caller):
            yield types.ToolListChangedNotification(params=params)


async def _follow(
    to: Destination, notifications: AsyncGenerator[types.Notification[Any, Any]]
) -> None:
    try:
        async with aclosing(notifications):
            async for notification in notifications:
                await to.send(notification)
    except MCPError:
        # The task no longer exists, or its backend refuses the call. The client gets the same
        # error from tasks/get.
        return
    except Exception:
        logger.exception("notifications to a client stopped, because a follower failed")
