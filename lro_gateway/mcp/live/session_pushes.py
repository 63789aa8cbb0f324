"""Notifications to the sessions of revisions before 2026-07-28, over stdio."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final, Literal

import mcp_types as types
from anyio import CancelScope
from anyio.abc import TaskGroup
from mcp.server.session import ServerSession

from lro_gateway.mcp.live.followers import Followers
from lro_gateway.mcp.live.subscriptions import too_many
from lro_gateway.mcp.tasks import core as core_tasks
from lro_gateway.mcp.tasks.tasks import TaskState
from lro_gateway.principal import Principal

logger: Final = logging.getLogger(__name__)

_TOO_MANY_TASKS: Final = (
    "a client follows %d tasks already, so it gets no notifications of another one;"
    " see limits.max_subscriptions_per_stream"
)


class _TaskStatusNotification(
    types.Notification[dict[str, Any], Literal["notifications/tasks/status"]]
):
    """The notification of a task of the core protocol (2025-11-25).

    The task is a dict, because a pydantic model would omit the required `ttl: null`.
    """

    method: Literal["notifications/tasks/status"] = "notifications/tasks/status"
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Session:
    """A session as a destination of notifications."""

    session: ServerSession
    meta: None = None

    def of_task(self, task_id: str, state: TaskState) -> _TaskStatusNotification:
        return _TaskStatusNotification(params=core_tasks.task(task_id, state))

    async def send(self, notification: Any) -> None:
        await self.session.send_notification(notification)


class SessionPushes:
    """Sends notifications to the sessions of one connection. The senders run in `group`.

    It follows at most `max_followed` operations as resources, and at most as many tasks.
    """

    def __init__(self, group: TaskGroup, followers: Followers, max_followed: int) -> None:
        self._max_followed = max_followed
        self._tasks = 0
        self._group = group
        self._followers = followers
        self._followed: dict[str, CancelScope] = {}

    def follow_task(self, session: ServerSession, caller: Principal, task_id: str) -> None:
        """Send notifications/tasks/status at each change of a task, until the task has ended.

        If the session has too many tasks, this one gets no notifications. They are optional.
        """

        async def follow() -> None:
            # The result of the call already has the first state.
            to = _Session(session)
            try:
                await self._followers.follow_task(to, caller, task_id, skip_first=True)
            finally:
                self._tasks -= 1

        if self._tasks >= self._max_followed:
            logger.warning(_TOO_MANY_TASKS, self._max_followed)
            return
        self._tasks += 1
        self._group.start_soon(follow)

    def follow_tools(self, session: ServerSession, caller: Principal) -> None:
        """Send notifications/tools/list_changed whenever the caller's tools have changed."""
        self._group.start_soon(self._followers.follow_tools, _Session(session), caller)

    def follow_resource(self, session: ServerSession, caller: Principal, uri: str) -> None:
        """Send notifications/resources/updated at each change of an operation, until it is done.

        Raises an `MCPError` if the session follows too many operations.
        """
        if uri not in self._followed:
            if len(self._followed) >= self._max_followed:
                most = self._max_followed
                raise too_many(f"one client may subscribe to at most {most} resources", most)
            scope = self._followed[uri] = CancelScope()
            self._group.start_soon(self._follow_resource, _Session(session), caller, uri, scope)

    def unfollow_resource(self, uri: str) -> None:
        """Stop the notifications of an operation."""
        if (scope := self._followed.pop(uri, None)) is not None:
            scope.cancel()

    async def _follow_resource(
        self, to: _Session, caller: Principal, uri: str, scope: CancelScope
    ) -> None:
        with scope:
            await self._followers.follow_resource(to, caller, uri)
        # If the client has unsubscribed and subscribed again, another sender serves the
        # new subscription.
        if self._followed.get(uri) is scope:
            del self._followed[uri]
