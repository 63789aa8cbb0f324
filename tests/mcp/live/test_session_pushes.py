"""What a session is told unasked, and that it ends when nobody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio

from lro_gateway.mcp.live.followers import Followers
from lro_gateway.mcp.live.session_pushes import SessionPushes
from lro_gateway.mcp.tasks.ids import TaskIds
from lro_gateway.mcp.tasks.tasks import Tasks
from lro_gateway.principal import ANONYMOUS, Principal
from lro_gateway.sealing import Sealer
from tests.service.watched_job import Hanging, Job, watched

URI = "operation://b/jobs/1"


async def no_changes(_caller: Principal) -> AsyncIterator[None]:
    """Yield at no change of the tools."""
    return
    yield


async def test_who_leaves_an_operation_and_comes_back_can_leave_it_again() -> None:
    """However soon: the end of the first subscription is not that of the second."""
    job = Job()
    job.instead = look = Hanging()
    nobody: Any = None  # nothing is sent while the first look is under way
    async with watched(job) as (service, _), asyncio.timeout(5), anyio.create_task_group() as group:
        # The look itself ends at the backend's deadline, which is later.
        tasks = Tasks(TaskIds(Sealer()), ())
        pushes = SessionPushes(group, Followers(service, tasks, no_changes))
        pushes.follow_resource(nobody, ANONYMOUS, URI)
        await look.called.wait()
        pushes.leave_resource(URI)
        pushes.follow_resource(nobody, ANONYMOUS, URI)
        await anyio.wait_all_tasks_blocked()
        pushes.leave_resource(URI)
