"""The courses of followed operations: progress of many is written together, and an end at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.longrunning import operations_pb2

from lro_gateway.deliveries import courses, tracking
from lro_gateway.deliveries.happenings import DONE, PROGRESS
from lro_gateway.errors import Code, status_error
from lro_gateway.records.event_entries import Emission, Event, EventPage, Selection
from lro_gateway.records.event_log import SqlEvents
from lro_gateway.records.event_schema import TRACKERS
from lro_gateway.records.location import Location
from tests.contrary import Answer, ContraryBackend
from tests.deliveries.stages import ALICE, Demo, Stage, staged
from tests.service.watched_job import OFTEN
from tests.shapes import message, pool

NAMES = [f"jobs/{number}" for number in range(1, 21)]


@dataclass
class Jobs:
    """Operations of one stage, some of which have ended. `groups` are the events of each write."""

    stage: str = "one"
    ended: set[str] = field(default_factory=set)
    groups: list[list[Event]] = field(default_factory=list)
    failures: int = 0

    async def get(self, request: Any, _context: Any) -> Answer:
        """Answer with an operation."""
        operation: Any = operations_pb2.Operation(
            name=request.name, done=request.name in self.ended
        )
        operation.metadata.Pack(message("progress.v1.Texts", status_message=self.stage))
        answer: Answer = operation
        return answer

    def emitting(self, emit: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method that notes each write, and loses the answers to some of them."""

        async def emitted(log: SqlEvents, news: Sequence[Emission]) -> Any:
            written = await emit(log, news)
            self.groups.append([each.event for each in news])
            if len(news) > 1 and self.failures:
                self.failures -= 1
                raise status_error(Code.UNAVAILABLE, "the answer is lost", "STORE_UNAVAILABLE")
            return written

        return emitted


@asynccontextmanager
async def followed(
    location: Location, demo: Demo, directory: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Stage, AsyncGenerator[EventPage]]]:
    """Follow all operations, and yield a stream of their events after their beginnings."""
    monkeypatch.setattr(SqlEvents, "emit", jobs.emitting(SqlEvents.emit))
    async with (
        ContraryBackend.open(
            {"GetOperation": jobs.get}, reflection_versions=("v1",), pool=pool()
        ) as contrary,
        asyncio.timeout(60),
    ):
        backend = {"target": contrary.target, "freshness": "0s", "poll_intervals": OFTEN}
        async with (
            staged(location, demo[0], directory, backend, progress_interval="1h") as stage,
            aclosing(stage.deliveries.stream(ALICE, Selection(), None)) as stream,
        ):
            await anext(stream)
            for name in NAMES:
                selection = Selection(backend="demo", name=name)
                await stage.deliveries.page(ALICE, selection, None)
            await told(stream, len(NAMES))
            yield stage, stream


async def told(stream: AsyncGenerator[EventPage], number: int) -> list[tuple[str, str]]:
    """Return the names and the kinds of so many further events."""
    events: list[Event] = []
    while len(events) < number:
        events += (await anext(stream)).events
    return sorted((each.target.name, each.kind) for each in events)


async def test_progress_of_many_operations_is_written_together(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction for each would cost more than the poll that has found it."""
    jobs = Jobs()
    async with followed(location, demo, tmp_path, jobs, monkeypatch) as (_, stream):
        jobs.groups.clear()
        jobs.stage = "two"
        assert await told(stream, len(NAMES)) == sorted((name, PROGRESS) for name in NAMES)
        assert max(map(len, jobs.groups)) > 1
        numbers = Counter(each.number for group in jobs.groups for each in group)
        assert numbers == {2: len(NAMES)}


async def test_an_end_does_not_wait_with_the_progress_of_others(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the operation itself has made progress before, which then is no event any more."""
    monkeypatch.setattr(tracking, "_GATHERED", 3600.0)
    jobs = Jobs()
    async with followed(location, demo, tmp_path, jobs, monkeypatch) as (stage, stream):
        jobs.stage = "two"
        gathered = stage.deliveries.trackers._gathered  # noqa: SLF001 - nobody else knows
        while len(gathered) < len(NAMES):  # noqa: ASYNC110 - no task tells
            await asyncio.sleep(0)
        jobs.ended = {"jobs/1"}
        assert await told(stream, 1) == [("jobs/1", DONE)]


async def test_a_group_whose_answer_is_lost_loses_no_event(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events are in the store, so none is told again, and each operation goes on."""
    monkeypatch.setattr(courses, "_PAUSE", 0.01)
    jobs = Jobs()
    async with followed(location, demo, tmp_path, jobs, monkeypatch) as (_, stream):
        jobs.failures, jobs.stage = 2, "two"
        assert await told(stream, len(NAMES)) == sorted((name, PROGRESS) for name in NAMES)
        jobs.ended = {*NAMES}
        assert await told(stream, len(NAMES)) == sorted((name, DONE) for name in NAMES)


async def test_one_that_another_process_follows_leaves_the_group_alone(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its progress is not written, and that of all others is."""
    jobs = Jobs()
    async with followed(location, demo, tmp_path, jobs, monkeypatch) as (stage, stream):
        # Nobody takes over a row of a later version, although no other process runs.
        changes = {"replica": "other", "version": 99}
        taken = TRACKERS.update().where(TRACKERS.c.name == NAMES[0]).values(changes)
        database: Any = stage.deliveries._records.log._database  # noqa: SLF001 - to act as another
        await database.write(lambda connection: connection.execute(taken).rowcount)
        jobs.stage = "two"
        assert await told(stream, len(NAMES) - 1) == sorted((name, PROGRESS) for name in NAMES[1:])
        query = sa.select(TRACKERS.c.number).where(TRACKERS.c.name == NAMES[0])
        assert await database.read(lambda connection: connection.scalar(query)) == 1
        assert len(stage.deliveries.trackers) == len(NAMES) - 1
