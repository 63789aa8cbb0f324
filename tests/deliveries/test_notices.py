"""What is told of lost events, and of webhooks that the gateway has stopped."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from lro_gateway.deliveries.feed import cursor_of
from lro_gateway.deliveries.happenings import DONE
from lro_gateway.deliveries.schedule import Schedule
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import OF_WEBHOOK, Selection, SubscriptionState
from lro_gateway.records.location import Location
from tests.deliveries.receiver import Receiver, answering, receiving
from tests.deliveries.stages import ALICE, BOB, EVE, Demo, Stage, echo, staged, staged_for_mcp

ONCE = Schedule((0.0,), deadline=10.0)


@pytest.fixture
def _one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each delivery one attempt."""
    for name in ("MCP_SCHEDULE", "REST_SCHEDULE"):
        monkeypatch.setattr(f"lro_gateway.deliveries.posting.{name}", ONCE)


def in_an_hour() -> dt.datetime:
    """Return the time in 61 minutes."""
    return now() + dt.timedelta(minutes=61)


async def ended(stage: Stage, number: int, receiver: Receiver | None = None) -> str:
    """Let an operation end, and return its name after the attempts at a receiver."""
    name = await stage.start(f"database-{number}")
    selection = Selection((DONE,), "demo", name)
    async for page in stage.deliveries.stream(ALICE, selection, "0-0-9999999999"):
        if page.events:
            break
    if receiver is not None:
        # An earlier message may be sent again meanwhile.
        await receiver.told_of(name)
    await stage.deliveries.sender.drain()
    return name


@pytest.mark.usefixtures("_one_attempt")
async def test_a_receiver_that_is_back_is_told_once_of_what_it_has_lost(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """After the next delivery that succeeds. What comes is after the cursor."""
    server, gate = demo
    gate.release()
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        await stage.deliveries.subscribe(ALICE, mcp.request())
        mcp.receiver.behavior = answering(503)
        await ended(stage, 1, mcp.receiver)
        mcp.receiver.behavior = echo
        names = [await ended(stage, number, mcp.receiver) for number in (2, 3)]
        _lost, second, gap, third = await mcp.bodies(4)
        assert mcp.receiver.received[3].headers["webhook-id"].startswith("msg_gap_")
        assert gap["type"] == "gap"
        assert [each["data"]["operation"] for each in (second, third)] == names
        page = await stage.deliveries.page(ALICE, mcp.request().selection, gap["cursor"])
        assert [each.target.name for each in page.events] == names[1:]


@pytest.mark.usefixtures("_one_attempt")
@pytest.mark.parametrize(("status", "is_told_again"), [(503, True), (400, False)])
async def test_a_gap_that_was_not_taken_is_told_again(
    location: Location, tmp_path: Path, demo: Demo, status: int, *, is_told_again: bool
) -> None:
    """A receiver that only does not know the message hears of it no more."""
    server, gate = demo
    gate.release()

    async def refusing(request: Any, writer: Any) -> None:
        is_gap = json.loads(request.body).get("type") == "gap"
        await (answering(status) if is_gap else echo)(request, writer)

    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        made = await stage.deliveries.subscribe(ALICE, mcp.request())
        await stage.subscriptions.lose(made.subscription.id)
        mcp.receiver.behavior = refusing
        await ended(stage, 1, mcp.receiver)
        mcp.receiver.behavior = echo
        await ended(stage, 2, mcp.receiver)
        await ended(stage, 3, mcp.receiver)
        told = [each.get("type", each.get("name")) for each in await mcp.bodies(4)]
        assert told == [DONE, "gap", DONE, *(["gap"] if is_told_again else []), DONE]


async def test_a_suspended_webhook_begins_again_with_a_gap_or_from_its_cursor(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """A renewal resumes it. With the last cursor it gets what it has missed."""
    server, gate = demo
    gate.release()
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        request = mcp.request()
        made = await stage.deliveries.subscribe(ALICE, request)
        stop = stage.subscriptions.stop
        assert await stop(made.subscription.id, SubscriptionState.SUSPENDED, "a test")
        missed = await ended(stage, 1)
        again = await stage.deliveries.subscribe(ALICE, request)
        assert (again.truncated, again.subscription.state) == (False, SubscriptionState.ACTIVE)
        (gap,) = await mcp.bodies(1)
        assert gap["type"] == "gap"
        await stop(made.subscription.id, SubscriptionState.SUSPENDED, "a test")
        last = await stage.deliveries.subscribe(ALICE, request, cursor=made.cursor)
        assert (last.truncated, last.cursor.rpartition("-")[0]) == (
            *(False, made.cursor.rpartition("-")[0]),
        )
        _, event = await mcp.bodies(2)
        assert event["data"]["operation"] == missed


@pytest.mark.usefixtures("_one_attempt")
async def test_a_renewal_with_a_cursor_sends_again_what_had_failed(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Dead deliveries are after the last cursor of the client."""
    server, gate = demo
    gate.release()
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        request = mcp.request()
        made = await stage.deliveries.subscribe(ALICE, request)
        mcp.receiver.behavior = answering(500)
        failed = await ended(stage, 1, mcp.receiver)
        mcp.receiver.behavior = echo
        await stage.deliveries.subscribe(ALICE, request, cursor=made.cursor)
        await ended(stage, 2, mcp.receiver)
        # A failure, the next event, and the gap that tells of the failure.
        assert len(await mcp.bodies(3)) == 3
        stop = stage.subscriptions.stop
        assert await stop(made.subscription.id, SubscriptionState.SUSPENDED, "a test")
        again = await stage.deliveries.subscribe(ALICE, request, cursor=made.cursor)
        assert (again.truncated, again.before and again.before.state) == (
            *(False, SubscriptionState.SUSPENDED),
        )
        told = {each["data"]["operation"] for each in (await mcp.bodies(5))[3:]}
        assert failed in told
        assert len(told) == 2


async def test_a_renewal_goes_on_with_what_waited_when_the_webhook_was_suspended(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without a cursor. A gap tells of what came meanwhile."""
    server, gate = demo
    gate.release()
    soon = Schedule((0.0, 0.2, 0.2), deadline=10.0)
    monkeypatch.setattr("lro_gateway.deliveries.posting.MCP_SCHEDULE", soon)
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        request = mcp.request()
        made = await stage.deliveries.subscribe(ALICE, request)
        stop = stage.subscriptions.stop

        async def failing(request: Any, writer: Any) -> None:
            assert await stop(made.subscription.id, SubscriptionState.SUSPENDED, "a test")
            await answering(500)(request, writer)

        mcp.receiver.behavior = failing
        waiting = await ended(stage, 1, mcp.receiver)
        async with asyncio.timeout(30):
            while (await stage.subscriptions.get(made.subscription.id)).lost == 0:
                pass
        mcp.receiver.behavior = echo
        await stage.deliveries.subscribe(ALICE, request)
        _failed, *rest = await mcp.bodies(3)
        told = {each.get("type") or each["data"]["operation"] for each in rest}
        assert told == {"gap", waiting}


async def test_a_webhook_that_asks_for_too_much_begins_later(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the newest events, and its cursor is before them."""
    server, gate = demo
    gate.release()
    monkeypatch.setattr("lro_gateway.deliveries.feed.MOST_MISSED", 2)
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        begin = cursor_of((await stage.deliveries.page(ALICE, Selection(), None)).end)
        names = [await ended(stage, number) for number in (1, 2, 3)]
        made = await stage.deliveries.subscribe(ALICE, mcp.request(), cursor=begin)
        assert made.truncated
        told = {each["data"]["operation"] for each in await mcp.bodies(2)}
        page = await stage.deliveries.page(ALICE, mcp.request().selection, made.cursor)
        assert told == {each.target.name for each in page.events} == {*names[1:]}
        old = await stage.deliveries.subscribe(
            BOB, mcp.request(), cursor=begin, max_age=dt.timedelta(0)
        )
        assert old.truncated
        assert (await stage.deliveries.page(BOB, mcp.request().selection, old.cursor)).events == []


async def test_a_position_that_the_log_has_not_reached_is_truncated(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """An older copy of the database was restored. A reader would otherwise hear nothing."""
    async with staged_for_mcp(location, demo[0], tmp_path) as (stage, mcp):
        future = f"{2**61}-{2**61}-{int(now().timestamp())}"
        page = await stage.deliveries.page(ALICE, Selection(), future)
        assert page.truncated
        assert not (await stage.deliveries.page(ALICE, Selection(), cursor_of(page.end))).truncated
        made = await stage.deliveries.subscribe(ALICE, mcp.request(), cursor=future)
        assert made.truncated
        assert not (await stage.deliveries.page(ALICE, Selection(), made.cursor)).truncated


async def test_the_cursor_of_a_live_webhook_is_before_what_is_on_its_way(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """A cursor that the caller gives then changes nothing."""
    server, gate = demo
    gate.release()
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        request = mcp.request()
        await stage.deliveries.subscribe(ALICE, request)
        mcp.receiver.behavior = answering(503)
        name = await ended(stage, 1, mcp.receiver)
        again = await stage.deliveries.subscribe(ALICE, request, cursor="0-0-0")
        assert not again.truncated
        page = await stage.deliveries.page(ALICE, request.selection, again.cursor)
        assert [each.target.name for each in page.events] == [name]


@pytest.mark.usefixtures("_one_attempt")
async def test_a_webhook_that_fails_for_five_days_is_disabled_with_an_event(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its owner hears of it, by another webhook or as a reader."""
    server, gate = demo
    gate.release()
    async with (
        receiving(answering(500)) as failing,
        receiving(answering(200)) as receiver,
        staged(location, server, tmp_path) as stage,
    ):
        made = await stage.hook(failing)
        for caller in (ALICE, BOB, EVE):
            await stage.hook(receiver, caller, kinds=(OF_WEBHOOK,))
        await ended(stage, 1, failing)
        later = dt.timedelta(days=5, seconds=1)
        monkeypatch.setattr("lro_gateway.deliveries.sending.now", lambda: now() + later)
        await ended(stage, 2, failing)
        (received,) = await receiver.after(1)
        event = json.loads(received.body)
        assert (event["name"], event["data"]) == (
            OF_WEBHOOK,
            {
                "webhook": made.subscription.id,
                "state": "disabled",
                "reason": "all deliveries failed for five days",
            },
        )
        selection = Selection((OF_WEBHOOK,))
        seen = [
            [
                each.id
                for each in (await stage.deliveries.page(who, selection, "0-0-9999999999")).events
            ]
            for who in (ALICE, BOB)
        ]
        assert seen == [[event["eventId"]], []]
        hook = await stage.deliveries.subscribing.get(ALICE, made.subscription.id)
        assert hook.state is SubscriptionState.DISABLED


@pytest.mark.usefixtures("_one_attempt")
@pytest.mark.parametrize(("delivered", "is_suspended"), [(0, True), (1, False)])
async def test_a_webhook_of_mcp_is_suspended_if_nearly_all_fails_for_an_hour(
    location: Location,
    tmp_path: Path,
    demo: Demo,
    monkeypatch: pytest.MonkeyPatch,
    delivered: int,
    *,
    is_suspended: bool,
) -> None:
    """More than 95% of the attempts, of which there must be enough."""
    server, gate = demo
    gate.release()
    monkeypatch.setattr("lro_gateway.deliveries.sending._MANY", 3)
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):
        request = mcp.request()
        await stage.deliveries.subscribe(ALICE, request)
        for number in range(3):
            is_failure = number >= delivered
            mcp.receiver.behavior = answering(500) if is_failure else echo
            if number == 2:
                for module in ("deliveries.sending", "records.outbox"):
                    monkeypatch.setattr(f"lro_gateway.{module}.now", in_an_hour)
            await ended(stage, number, mcp.receiver)
        page = await stage.deliveries.page(ALICE, Selection((OF_WEBHOOK,)), "0-0-9999999999")
        states = [json.loads(each.data)["state"] for each in page.events]
        assert states == (["suspended"] if is_suspended else [])


async def test_a_cursor_gets_also_what_was_written_while_the_receiver_was_asked(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """What happens during the challenge is after the cursor of the answer."""
    server, gate = demo
    gate.release()
    async with staged_for_mcp(location, server, tmp_path) as (stage, mcp):

        async def slow(request: Any, writer: Any) -> None:
            if json.loads(request.body).get("type") == "verification":
                await ended(stage, 1)
            await echo(request, writer)

        mcp.receiver.behavior = slow
        await stage.deliveries.subscribe(ALICE, mcp.request())
        assert [each["name"] for each in await mcp.bodies(1)] == [DONE]
