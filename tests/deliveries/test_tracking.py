"""Trackers: what they tell of an operation that goes on, and what they hold meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2

from lro_gateway.deliveries.feed import cursor_of
from lro_gateway.deliveries.happenings import PROGRESS, STARTED
from lro_gateway.records.event_entries import Event, Selection
from lro_gateway.records.location import Location
from tests.contrary import Answer, ContraryBackend, Handler
from tests.deliveries.stages import ALICE, Demo, Stage, staged
from tests.service.watched_job import NEVER, OFTEN, Hanging, Job
from tests.shapes import message, pool

ALL = Selection()
NAMES = [f"jobs/{number}" for number in range(1, 31)]


@asynccontextmanager
async def following(
    location: Location, demo: Demo, directory: Path, backend: Mapping[str, Any], **handlers: Handler
) -> AsyncIterator[Stage]:
    """Open a gateway with a store, in front of a backend with these handlers."""
    async with (
        ContraryBackend.open(handlers, reflection_versions=("v1",), pool=pool()) as contrary,
        asyncio.timeout(60),
    ):
        settings = {"target": contrary.target, "freshness": "0s", **backend}
        async with staged(
            location, demo[0], directory, settings, progress_interval="300ms"
        ) as stage:
            yield stage


async def follow(stage: Stage, *names: str) -> None:
    """Let operations be followed for a reader."""
    for name in names:
        await stage.deliveries.page(ALICE, Selection(backend="demo", name=name), None)


async def get_any(request: Any, _context: Any) -> Answer:
    """Answer with a running operation of every name."""
    answer: Answer = operations_pb2.Operation(name=request.name)
    return answer


async def test_progress_that_came_too_soon_is_told_when_it_is_due(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Although the operation does not change again."""
    job, backend = Job(), {"poll_intervals": OFTEN}
    async with (
        following(location, demo, tmp_path, backend, GetOperation=job.get) as stage,
        aclosing(stage.deliveries.stream(ALICE, ALL, None)) as stream,
    ):
        await anext(stream)
        await follow(stage, "jobs/1")
        events: list[Event] = [*(await anext(stream)).events]
        job.percent = 50
        while len(events) < 2:
            events += (await anext(stream)).events
    assert [each.kind for each in events] == [STARTED, PROGRESS]
    assert json.loads(events[1].data)["percent"] == 50
    assert events[1].at - events[0].at >= timedelta(milliseconds=290)


async def test_a_stage_that_always_changes_floods_nobody(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Ten stages are told at once in each interval, and others when they are due."""
    job = Job()

    async def stage_of(request: Any, _context: Any) -> Answer:
        operation: Any = operations_pb2.Operation(name=request.name)
        operation.metadata.Pack(message("progress.v1.Texts", status_message=f"row {job.polls}"))
        answer: Answer = operation
        return answer

    job.instead = stage_of
    async with (
        ContraryBackend.open(
            {"GetOperation": job.get}, reflection_versions=("v1",), pool=pool()
        ) as contrary,
        asyncio.timeout(60),
    ):
        settings = {"target": contrary.target, "freshness": "0s", "poll_intervals": OFTEN}
        async with staged(location, demo[0], tmp_path, settings, progress_interval="1h") as stage:
            begin = await stage.deliveries.page(ALICE, ALL, None)
            await follow(stage, "jobs/1")

            async def told() -> list[str]:
                page = await stage.deliveries.page(ALICE, ALL, cursor_of(begin.end))
                return [each.kind for each in page.events]

            while len(await told()) < 11:
                await job.next_poll()
            for _ in range(20):
                await job.next_poll()
            assert await told() == [STARTED, *[PROGRESS] * 10]


async def test_operations_that_are_followed_hold_no_tasks(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """There may be many thousands of them."""
    async with (
        following(
            location, demo, tmp_path, {"poll_intervals": NEVER}, GetOperation=get_any
        ) as stage,
        aclosing(stage.deliveries.stream(ALICE, ALL, None)) as stream,
    ):
        await anext(stream)
        await follow(stage, "jobs/first")
        assert [each.kind for each in (await anext(stream)).events] == [STARTED]
        seen = 0
        before = len(asyncio.all_tasks())
        await follow(stage, *NAMES)
        while seen < len(NAMES):
            seen += len((await anext(stream)).events)
        assert len(stage.deliveries.trackers) == len(NAMES) + 1
        # The last polls and writes may be ending, and servers have some tasks now and then.
        while len(asyncio.all_tasks()) - before > len(NAMES) // 2:  # noqa: ASYNC110 - no task tells
            await asyncio.sleep(0.01)


async def test_few_operations_of_a_backend_begin_at_a_time_after_a_takeover(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are followed, and one that is new waits for none of them."""
    reading, most, read = 0, 0, set[str]()
    gate = asyncio.Event()
    gate.set()

    async def get(request: Any, context: Any) -> Answer:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        read.add(request.name)
        try:
            if request.name in NAMES:
                await gate.wait()
            return await get_any(request, context)
        finally:
            reading -= 1

    settings = {"poll_intervals": NEVER}
    handlers: dict[str, Handler] = {"GetOperation": get, "WaitOperation": Hanging()}
    async with following(location, demo, tmp_path, settings, **handlers) as stage:
        await follow(stage, *NAMES)
    monkeypatch.setattr("lro_gateway.deliveries.courses._READING", 2)
    gate.clear()
    read.clear()
    most = 0
    async with following(location, demo, tmp_path, settings, **handlers) as stage:
        while len(read) < 2:  # noqa: ASYNC110 - the backend counts
            await asyncio.sleep(0.01)
        await follow(stage, "jobs/new")
        while "jobs/new" not in read:  # noqa: ASYNC110 - the backend counts
            await asyncio.sleep(0.01)
        assert (len(read), len(stage.deliveries.trackers)) == (3, len(NAMES) + 1)
        gate.set()
        while len(read) < len(NAMES) + 1:  # noqa: ASYNC110 - the backend counts
            await asyncio.sleep(0.01)
    assert most <= 3
