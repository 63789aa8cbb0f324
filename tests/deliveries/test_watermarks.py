"""The cursors of webhooks of MCP."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import sqlite

from lro_gateway.deliveries.happenings import DONE
from lro_gateway.deliveries.watermarks import Watermarks
from lro_gateway.records.event_entries import OnTheirWay, Position
from lro_gateway.records.event_log import OLDEST_PENDING
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from tests.deliveries.receiver import answering
from tests.deliveries.stages import ALICE, Demo, echo, staged_for_mcp
from tests.deliveries.test_notices import ended


async def test_the_cursor_of_an_event_is_after_it_if_nothing_else_is_on_its_way(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """A reader that goes on there gets only what comes later."""
    server, gate = demo
    gate.release()
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        await stage.deliveries.subscribe(ALICE, mcp.request())
        await ended(stage, 1, mcp.receiver)
        (first,) = await mcp.bodies(1)
        later = await ended(stage, 2)
        page = await stage.deliveries.page(ALICE, mcp.request().selection, first["cursor"])
        assert [each.target.name for each in page.events] == [later]


async def test_the_cursor_of_an_event_is_before_one_that_has_not_arrived(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """So a receiver that goes on there loses nothing."""
    server, gate = demo
    gate.release()
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        await stage.deliveries.subscribe(ALICE, mcp.request())
        mcp.receiver.behavior = answering(500)
        names = [await ended(stage, 1, mcp.receiver)]
        mcp.receiver.behavior = echo
        names.append(await ended(stage, 2, mcp.receiver))
        failed, arrived = await mcp.bodies(2)
        assert [each["data"]["operation"] for each in (failed, arrived)] == names
        page = await stage.deliveries.page(ALICE, mcp.request().selection, arrived["cursor"])
        assert [each.target.name for each in page.events] == names


async def test_a_webhook_of_rest_has_no_cursor(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """It has the numbers of the events."""
    server, gate = demo
    gate.release()
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        await stage.hook(mcp.receiver, kinds=(DONE,))
        await ended(stage, 1, mcp.receiver)
        (request,) = mcp.receiver.received
        assert sorted(json.loads(request.body)) == ["data", "eventId", "name", "timestamp"]


class _Log:
    """A log of which the events on their way change."""

    def __init__(self) -> None:
        self.found: Any = OnTheirWay(
            [("one", Position(0, 5)), ("two", Position(0, 7))], Position(0, 9)
        )
        self.asked = 0

    async def on_their_way(self, _subscription: str) -> OnTheirWay:
        self.asked += 1
        return OnTheirWay(self.found.oldest, self.found.end)


async def test_many_events_at_once_ask_the_store_once() -> None:
    """What was read before is before more, so it is right."""
    log = _Log()
    watermarks = Watermarks(log)
    assert await watermarks.with_event("hook", "one") == Position(0, 6)
    log.found = OnTheirWay([], Position(0, 9))
    assert await watermarks.with_event("hook", "two") == Position(0, 4)
    assert (await watermarks.of("hook"), log.asked) == (Position(0, 9), 2)
    watermarks.forget("hook")
    assert await watermarks.with_event("hook", "two") == Position(0, 9)


async def test_a_webhook_that_has_got_much_costs_no_more(tmp_path: Path) -> None:
    """SQLite has no statistics, and would otherwise read all deliveries of the webhook."""
    location = Location(tmp_path / "store.sqlite3")
    async with open_store(location):
        pass
    compiled = OLDEST_PENDING.compile(dialect=sqlite.dialect(paramstyle="named"))
    with closing(sqlite3.connect(tmp_path / "store.sqlite3")) as store:
        steps = store.execute(
            f"EXPLAIN QUERY PLAN {compiled}", {**compiled.params, "of_subscription": ""}
        )
        plan = [row[3] for row in steps]
    assert "USING INDEX deliveries_pending (subscription=? AND state=?)" in plan[0]
