"""Receivers that want no message until a time."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from lro_gateway.deliveries.deliveries import Subscribed
from lro_gateway.deliveries.egress import Answer
from lro_gateway.deliveries.happenings import DONE
from lro_gateway.deliveries.schedule import Schedule
from lro_gateway.deliveries.throttles import ThrottledError, Throttles
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import Delivery, DeliveryState, Selection, Subscription
from lro_gateway.records.location import Location
from lro_gateway.records.owners import Owner
from tests.deliveries.receiver import answering, receiving
from tests.deliveries.stages import ALICE, Demo, Stage, staged
from tests.deliveries.test_notices import ended

OWNER = Owner("https://issuer", "alice", "acme")
BRIEF = Schedule((0.0, 0.0), deadline=10.0)


async def held_back(stage: Stage, made: Subscribed) -> list[Delivery]:
    """Return the deliveries once the newest one waits for the end of the pause."""
    async with asyncio.timeout(60):
        while True:
            found, _ = await stage.deliveries.deliveries(ALICE, made.subscription.id)
            # An attempt is recorded with its event, and taken back once it would begin.
            if found[0].attempts == 0 and found[0].due > now() + dt.timedelta(minutes=5):
                return found


async def test_a_receiver_that_asks_for_a_pause_gets_nothing_until_then(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Other events wait too, and use up no attempt. The webhook tells until when."""
    server, gate = demo
    gate.release()
    async with (
        receiving(answering(429, Retry_After="3600")) as receiver,
        staged(location, server, tmp_path) as stage,
    ):
        made = await stage.hook(receiver)
        await ended(stage, 1, receiver)
        await ended(stage, 2)
        await stage.deliveries.sender.drain()
        hook = await stage.deliveries.subscribing.get(ALICE, made.subscription.id)
        assert hook.throttled_until is not None
        assert hook.throttled_until > now()
        held, refused = found = await held_back(stage, made)
        assert (refused.attempts, refused.status, refused.error) == (1, 429, "http_4xx")
        assert (held.attempts, held.status, held.error) == (0, None, "")
        assert [each.state for each in found] == [DeliveryState.PENDING] * 2
        assert held.due >= hook.throttled_until
        assert len(receiver.received) == 1


async def test_the_owner_of_a_webhook_ends_the_pause(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """By sending again what has not arrived."""
    server, gate = demo
    gate.release()
    async with (
        receiving(answering(503, Retry_After="3600")) as receiver,
        staged(location, server, tmp_path) as stage,
    ):
        made = await stage.hook(receiver)
        names = [await ended(stage, 1, receiver), await ended(stage, 2)]
        await held_back(stage, made)
        receiver.behavior = answering(200)
        await stage.deliveries.redeliver_page(ALICE, made.subscription.id)
        await receiver.after(3)
        await stage.deliveries.sender.drain()
        found, _ = await stage.deliveries.deliveries(ALICE, made.subscription.id)
        told = {each.event.target.name: (each.state, each.attempts) for each in found}
        assert told == dict.fromkeys(names, (DeliveryState.DELIVERED, 1))
        hook = await stage.deliveries.subscribing.get(ALICE, made.subscription.id)
        assert hook.throttled_until is None


async def test_a_message_that_waits_for_a_week_is_dead(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver could otherwise let the store grow without end."""
    server, gate = demo
    gate.release()
    async with (
        receiving(answering(429, Retry_After="3600")) as receiver,
        staged(location, server, tmp_path) as stage,
    ):
        made = await stage.hook(receiver)
        await ended(stage, 1, receiver)
        monkeypatch.setattr("lro_gateway.deliveries.sending.RETENTION", dt.timedelta())
        await ended(stage, 2)
        async with asyncio.timeout(60):
            while True:
                (late, _), _ = await stage.deliveries.deliveries(ALICE, made.subscription.id)
                if late.state is not DeliveryState.PENDING:
                    break
        assert (late.state, late.error) == (DeliveryState.DEAD, "throttled")
        assert (await stage.subscriptions.get(made.subscription.id)).lost == 1
        assert len(receiver.received) == 1


def test_messages_go_on_one_after_the_other() -> None:
    """A receiver that asks for ever new pauses must not make the gateway look at all of them."""
    hook = Subscription("wh_1", "rest", OWNER, "", "{}", "https://hooks.example/", (), Selection())
    throttles = Throttles()

    def again(subscription: Subscription) -> dt.datetime:
        with pytest.raises(ThrottledError) as held:
            throttles.check(subscription)
        return held.value.again

    throttles.check(hook)
    until = throttles.note(hook, Answer(503, {"retry-after": "60"}, b""))
    assert until is not None
    between = dt.timedelta(milliseconds=20)
    assert [again(hook) - until for _ in range(3)] == [between, 2 * between, 3 * between]
    # Another process has heard of a longer pause.
    later = replace(hook, throttled_until=until + dt.timedelta(seconds=60))
    assert again(later) - until == dt.timedelta(seconds=60) + between
    over = replace(hook, id="wh_2", throttled_until=now())
    throttles.check(over)
    throttles.forget("wh_1")
    throttles.check(hook)


@pytest.mark.parametrize(
    ("status", "header"), [(425, "3600"), (500, "3600"), (503, "0"), (503, "soon")]
)
async def test_other_answers_hold_back_only_their_own_message(
    location: Location,
    tmp_path: Path,
    demo: Demo,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    header: str,
) -> None:
    """Such as 425, which a receiver answers that does not know the webhook yet."""
    server, gate = demo
    gate.release()
    monkeypatch.setattr("lro_gateway.deliveries.posting.REST_SCHEDULE", BRIEF)
    async with (
        receiving(answering(status, Retry_After=header)) as receiver,
        staged(location, server, tmp_path) as stage,
    ):
        made = await stage.hook(receiver, kinds=(DONE,))
        await ended(stage, 1, receiver)
        receiver.behavior = answering(200)
        second = await ended(stage, 2, receiver)
        found, _ = await stage.deliveries.deliveries(ALICE, made.subscription.id)
        states = {each.event.target.name: each.state for each in found}
        assert states[second] is DeliveryState.DELIVERED
        hook = await stage.deliveries.subscribing.get(ALICE, made.subscription.id)
        assert hook.throttled_until is None
