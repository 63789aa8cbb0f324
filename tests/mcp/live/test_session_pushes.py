"""Tests of the notifications to sessions, and of their end after resources/unsubscribe."""

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
    """Yield nothing, because the tools never change."""
    return
    yield


async def test_a_client_can_unsubscribe_again_after_it_has_subscribed_again() -> None:
    """The end of the first subscription does not remove the second subscription."""
    job = Job()
    job.instead = first_read = Hanging()
    session: Any = None  # nothing is sent before the first read has ended
    async with watched(job) as (service, _), asyncio.timeout(5), anyio.create_task_group() as group:
        # The read itself ends later, at the backend's deadline.
        tasks = Tasks(TaskIds(Sealer()), ())
        pushes = SessionPushes(group, Followers(service, tasks, no_changes))
        pushes.follow_resource(session, ANONYMOUS, URI)
        await first_read.called.wait()
        pushes.unfollow_resource(URI)
        pushes.follow_resource(session, ANONYMOUS, URI)
        await anyio.wait_all_tasks_blocked()
        pushes.unfollow_resource(URI)
