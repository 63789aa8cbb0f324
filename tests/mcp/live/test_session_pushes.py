"""Tests of the notifications to sessions, and of their end after resources/unsubscribe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError

from lro_gateway.access.sealing import Sealer
from lro_gateway.mcp.live.followers import Followers
from lro_gateway.mcp.live.session_pushes import SessionPushes
from lro_gateway.mcp.tasks.ids import TaskIds
from lro_gateway.mcp.tasks.tasks import Tasks
from lro_gateway.principal import ANONYMOUS, Principal
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
    async with watched(job) as (service, _), anyio.create_task_group() as group:
        # The read itself ends later, at the backend's deadline.
        tasks = Tasks(TaskIds(Sealer()), ())
        pushes = SessionPushes(group, Followers(service, tasks, no_changes), 100)
        pushes.follow_resource(session, ANONYMOUS, URI)
        await first_read.called.wait()
        pushes.unfollow_resource(URI)
        pushes.follow_resource(session, ANONYMOUS, URI)
        await anyio.wait_all_tasks_blocked()
        pushes.unfollow_resource(URI)


async def test_a_client_over_stdio_subscribes_to_a_bounded_number_of_operations() -> None:
    """The refusal names the setting. After an unsubscription there is room again."""
    job = Job()
    job.instead = Hanging()
    session: Any = None  # nothing is sent before the first read has ended
    async with watched(job) as (service, _), anyio.create_task_group() as group:
        tasks = Tasks(TaskIds(Sealer()), ())
        pushes = SessionPushes(group, Followers(service, tasks, no_changes), 2)
        for number in (1, 2, 2):
            pushes.follow_resource(session, ANONYMOUS, f"operation://b/jobs/{number}")
        with pytest.raises(MCPError) as refused:
            pushes.follow_resource(session, ANONYMOUS, "operation://b/jobs/3")
        pushes.unfollow_resource("operation://b/jobs/1")
        pushes.follow_resource(session, ANONYMOUS, "operation://b/jobs/3")
        for number in (2, 3):
            pushes.unfollow_resource(f"operation://b/jobs/{number}")
    assert refused.value.error.data == {
        "reason": "TOO_MANY_STREAMS",
        "metadata": {"limit": "2", "setting": "limits.max_subscriptions_per_stream"},
    }
