"""Receivers that want no message until a time."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from lro_gateway.deliveries.happenings import DONE
from lro_gateway.deliveries.schedule import Schedule
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import DeliveryState
from lro_gateway.records.location import Location
from tests.deliveries.receiver import answering, receiving
from tests.deliveries.stages import ALICE, Demo, staged
from tests.deliveries.test_notices import ended

BRIEF = Schedule((0.0, 0.0), deadline=10.0)


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
        assert hook.throttled_until - now() > dt.timedelta(minutes=59)
        found, _ = await stage.deliveries.deliveries(ALICE, made.subscription.id)
        held, refused = found
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
        receiver.behavior = answering(200)
        await stage.deliveries.redeliver_page(ALICE, made.subscription.id)
        await receiver.after(3)
        await stage.deliveries.sender.drain()
        found, _ = await stage.deliveries.deliveries(ALICE, made.subscription.id)
        told = {each.event.target.name: (each.state, each.attempts) for each in found}
        assert told == dict.fromkeys(names, (DeliveryState.DELIVERED, 1))
        hook = await stage.deliveries.subscribing.get(ALICE, made.subscription.id)
        assert hook.throttled_until is None


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
