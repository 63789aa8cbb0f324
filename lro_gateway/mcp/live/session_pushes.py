"""What a session of before 2026-07-28 is told unasked, where it lasts longer than a request."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Literal

import mcp_types as types
from anyio import CancelScope
from anyio.abc import TaskGroup
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError

from lro_gateway.mcp.live.resources import updates
from lro_gateway.mcp.tasks import core as core_tasks
from lro_gateway.mcp.tasks.tasks import Tasks
from lro_gateway.mcp.tools.toolbox import ToolChanges
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService


class _TaskStatusNotification(
    types.Notification[dict[str, Any], Literal["notifications/tasks/status"]]
):
    """The task, as a dict: a model would lose `ttl: null`."""

    method: Literal["notifications/tasks/status"] = "notifications/tasks/status"
    params: dict[str, Any]


class SessionPushes:
    """Tells the sessions of one connection of changes, in tasks of its group."""

    def __init__(self, group: TaskGroup, tasks: Tasks, tool_changes: ToolChanges) -> None:
        self._group = group
        self._tasks = tasks
        self._tool_changes = tool_changes
        self._followed: dict[str, CancelScope] = {}

    def follow_task(self, session: ServerSession, caller: Principal, task_id: str) -> None:
        """Send notifications/tasks/status at each change of a core task, until it has ended."""
        self._group.start_soon(self._follow_task, session, caller, task_id)

    def follow_tools(self, session: ServerSession, caller: Principal) -> None:
        """Send notifications/tools/list_changed whenever the tools have."""
        self._group.start_soon(self._follow_tools, session, caller)

    def follow_resource(
        self, session: ServerSession, service: OperationService, caller: Principal, uri: str
    ) -> None:
        """Send notifications/resources/updated at each change of an operation."""
        if uri not in self._followed:
            scope = self._followed[uri] = CancelScope()
            self._group.start_soon(self._follow_resource, session, service, caller, uri, scope)

    def leave_resource(self, uri: str) -> None:
        """Send no more of an operation."""
        if (scope := self._followed.pop(uri, None)) is not None:
            scope.cancel()

    async def _follow_resource(
        self,
        session: ServerSession,
        service: OperationService,
        caller: Principal,
        uri: str,
        scope: CancelScope,
    ) -> None:
        with scope:
            async with aclosing(updates(service, caller, uri)) as changes:
                async for _ in changes:
                    params = types.ResourceUpdatedNotificationParams(uri=uri)
                    await session.send_notification(
                        types.ResourceUpdatedNotification(params=params)
                    )
        # Who has left and come back meanwhile is followed by another task.
        if self._followed.get(uri) is scope:
            del self._followed[uri]

    async def _follow_task(self, session: ServerSession, caller: Principal, task_id: str) -> None:
        try:
            async with aclosing(self._tasks.watch(caller, task_id)) as states:
                await anext(states)  # the answer to the call has told it
                async for state in states:
                    told: Any = _TaskStatusNotification(params=core_tasks.task(task_id, state))
                    await session.send_notification(told)
        except MCPError:
            # The task is no more, or its backend refuses: tasks/get tells whoever asks.
            return

    async def _follow_tools(self, session: ServerSession, caller: Principal) -> None:
        async for _ in self._tool_changes(caller):
            await session.send_notification(types.ToolListChangedNotification())
