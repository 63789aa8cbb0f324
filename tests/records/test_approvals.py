"""The calls that wait for an approval, in both databases."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from lro_gateway.principal import Principal
from lro_gateway.records.approval import (
    OPEN,
    ApprovalQuery,
    ApprovalRecords,
    ApprovalState,
    Asked,
    Change,
)
from lro_gateway.records.approvals import SqlApprovals
from lro_gateway.records.database import Database
from lro_gateway.records.entries import Earlier, Key, now
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.records.sweeper import Sweeper

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
ANA = Principal("ana", "https://id", "data", frozenset({"a", "b"}), frozenset({"s"}), "cli")
BEN = Principal("ben", "https://id", "data")
PENDING, APPROVED = ApprovalState.PENDING, ApprovalState.APPROVED
STARTING, STARTED = ApprovalState.STARTING, ApprovalState.STARTED


def asked(number: int, caller: Principal = ANA, backend: str = "east") -> Asked:
    """Return a call whose id has a number."""
    id_ = f"{number:032x}"
    return Asked(id_, caller, backend, "p.S/M", "request", False, NOW, NOW + HOUR)


@asynccontextmanager
async def store(location: Location, *calls: Asked) -> AsyncIterator[ApprovalRecords]:
    """Open a store with pending calls."""
    async with open_store(location) as opened:
        for each in calls:
            assert await opened.approvals.add(each, 10)
        yield opened.approvals


async def test_a_call_is_read_as_it_was_written(location: Location) -> None:
    """With the claims of its caller, also by the next process."""
    call = replace(asked(1), needs_caller=True)
    async with store(location, call) as records:
        assert await records.get("f" * 32) is None
    async with store(location) as records:
        found = await records.get(call.id)
        assert found is not None
        assert (found.asked, found.state, found.decider) == (call, PENDING, None)
        change = Change(NOW, BEN, "a\x00b", None, "jobs/1", "outcome")
        assert await records.move(call.id, {PENDING}, STARTED, change)
        moved = await records.get(call.id)
        assert moved is not None
        assert (moved.decider, moved.decided, moved.reason) == (BEN, NOW, "a\ufffdb")
        assert (moved.operation, moved.outcome, moved.state) == ("jobs/1", "outcome", STARTED)


async def test_one_of_many_changes_a_state(location: Location) -> None:
    """All others learn that they were too late."""
    async with store(location, asked(1)) as records:
        moves = (records.move(asked(1).id, {PENDING}, APPROVED) for _ in range(20))
        assert sum(await asyncio.gather(*moves)) == 1
        assert await records.states([asked(1).id, asked(2).id]) == {asked(1).id: APPROVED}


async def test_of_many_calls_with_one_key_one_waits(location: Location) -> None:
    """All others learn which one it is, also at once, and also if the caller may add no other."""
    key = Key("d" * 64, "f" * 64, "id-1", HOUR)
    calls = [replace(asked(each), created=now(), expires=now() + HOUR) for each in range(1, 21)]
    async with store(location) as records:
        found = await asyncio.gather(*(records.add(each, 1, key) for each in calls))
        (first,) = (each for each, added in zip(calls, found, strict=True) if added is True)
        earlier = Earlier(first.id, "f" * 64, "id-1", None, is_asked=True)
        assert [each for each in found if each is not True] == [earlier] * 19
        assert await records.add(asked(21), 1, replace(key, digest="e" * 64)) is False
        assert await records.add(first, 1, key) is True


@pytest.mark.parametrize(("expires", "is_kept"), [(HOUR, True), (-HOUR, False)])
async def test_a_key_is_kept_as_long_as_its_call_can_be_approved(
    location: Location, expires: dt.timedelta, is_kept: bool
) -> None:
    """However short its window is. After that it stands for the next call."""
    key = Key("d" * 64, "f" * 64, "", dt.timedelta(0))
    first, second = (replace(asked(each), created=now(), expires=now()) for each in (1, 2))
    async with store(location) as records:
        assert await records.add(replace(first, expires=now() + expires), 10, key) is True
        added = await records.add(second, 10, key)
        assert (added == Earlier(first.id, "f" * 64, "", None, is_asked=True)) is is_kept
        assert (added is True) is not is_kept


async def test_an_expired_call_does_not_move(location: Location) -> None:
    """At its last moment it is over."""
    async with store(location, asked(1)) as records:
        over = NOW + HOUR
        assert not await records.move(asked(1).id, OPEN, APPROVED, at=over)
        assert [each.id for each in await records.overdue(over, 5)] == [asked(1).id]
        assert await records.overdue(over - dt.timedelta(seconds=1), 5) == []
        assert await records.move(asked(1).id, OPEN, APPROVED, at=NOW)
        assert [each.id for each in await records.approved(5)] == [asked(1).id]


async def test_a_caller_has_a_bounded_number_of_open_calls(location: Location) -> None:
    """Those of another tenant count for nobody else, and adding a call twice adds it once."""
    other = replace(ANA, tenant="web")
    async with store(location, asked(1), asked(2, other)) as records:
        assert not await records.add(asked(3), 1)
        assert await records.add(asked(1), 1)
        assert await records.move(asked(1).id, {PENDING}, ApprovalState.REFUSED)
        assert await records.add(asked(3), 1)


async def test_a_page_has_the_own_calls_and_those_of_backends(location: Location) -> None:
    """The newest first, in a state, before an id."""
    calls = [asked(1), asked(2, BEN), asked(3, BEN, "west"), asked(4, backend="west")]
    async with store(location, *calls) as records:

        async def page(caller: Principal, *backends: str, **more: Any) -> list[int]:
            query = ApprovalQuery(caller, backends, more.pop("limit", 9), **more)
            return [int(each.id, 16) for each in await records.page(query)]

        assert await page(ANA) == [4, 1]
        assert await page(ANA, "west") == [4, 3, 1]
        assert await page(BEN, "east", "west", limit=2) == [4, 3]
        assert await page(BEN, "east", "west", before=calls[2].id) == [2, 1]
        await records.move(calls[1].id, {PENDING}, ApprovalState.REFUSED)
        assert await page(BEN, state=PENDING) == [3]


async def test_a_start_whose_process_has_ended_is_unknown(location: Location) -> None:
    """At once if no other process can use the database, and otherwise when its call is over."""
    async with store(location, asked(1), asked(2)) as records:
        for each, end in ((asked(1), dt.timedelta(days=-1)), (asked(2), dt.timedelta(days=1))):
            change = Change(answer_by=dt.datetime.now(dt.UTC) + end)
            assert await records.move(each.id, {PENDING}, STARTING, change)
        found = await records.get(asked(1).id)
        assert found is not None
        assert found.state is ApprovalState.UNKNOWN
    async with store(location) as records:
        states = await records.states([asked(1).id, asked(2).id])
    second = STARTING if location.file is None else ApprovalState.UNKNOWN
    assert states == {asked(1).id: ApprovalState.UNKNOWN, asked(2).id: second}


@pytest.mark.parametrize(("state", "kept"), [(PENDING, True), (ApprovalState.REFUSED, False)])
async def test_old_calls_are_forgotten_once_they_have_ended(
    location: Location, state: ApprovalState, kept: bool
) -> None:
    """Those that are open stay."""
    long_ago = f"{int((NOW - 31 * 24 * HOUR).timestamp() * 1000):012x}{'0' * 20}"
    recent = f"{int((dt.datetime.now(dt.UTC) - HOUR).timestamp() * 1000):012x}{'0' * 20}"
    calls = [replace(asked(1), id=each) for each in (long_ago, recent)]
    async with store(location, *calls) as records:
        for each in calls:
            await records.move(each.id, {PENDING}, state)
    database = Database(location)
    await Sweeper(database, SqlApprovals(database).expiring).sweep()
    await database.close()
    async with store(location) as records:
        assert await records.get(recent) is not None
        assert (await records.get(long_ago) is not None) is kept
