"""Events and webhooks of a gateway with a store, on both databases."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from lro_gateway.deliveries.feed import cursor_of
from lro_gateway.deliveries.happenings import APPROVAL, DONE, STALLED, STARTED
from lro_gateway.deliveries.signing import new_secret
from lro_gateway.deliveries.subscribing import WebhookRequest
from lro_gateway.errors import Code, StatusError
from lro_gateway.principal import ANONYMOUS
from lro_gateway.records.event_entries import (
    DeliveryState,
    Selection,
    Subscription,
    SubscriptionState,
)
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.records.owners import Owner
from lro_gateway.service.verb_requests import NameRequest
from tests.certificates import Authority
from tests.deliveries.receiver import Received, answering, receiving
from tests.deliveries.stages import ALICE, BOB, EVE, Demo, body_of, echo, staged


async def test_a_webhook_gets_the_end_of_an_operation(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """It is signed, has the result, and is recorded as delivered."""
    server, gate = demo
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name)
        gate.release()
        (received,) = await receiver.after(1)
        body = body_of(received, made)
        assert (body["name"], body["data"]["operation"]) == (DONE, name)
        assert (body["data"]["state"], body["data"]["number"]) == ("succeeded", 2)
        assert body["data"]["response"]["name"] == "databases/one"
        assert received.headers["webhook-id"] == body["eventId"]
        delivery = await stage.settled(made)
        assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)


async def test_a_webhook_of_everything_follows_what_is_started_later(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Also what runs already, and only what its selection has."""
    server, gate = demo
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        first = await stage.start("first")
        made = await stage.hook(receiver, mine=True, kinds=(STARTED, DONE))
        second = await stage.start("second", BOB)
        await stage.start("third", EVE)
        await receiver.after(2)
        gate.release()
        found = [body_of(each, made) for each in await receiver.after(4)]
        told = {(each["name"], each["data"]["operation"]) for each in found}
        assert told == {(kind, name) for kind in (STARTED, DONE) for name in (first, second)}


async def test_a_webhook_of_an_ended_operation_gets_its_end(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Whether somebody followed the operation before or not."""
    server, gate = demo
    gate.release()
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        name = await stage.start()
        for number in (1, 2):
            made = await stage.hook(receiver, backend="demo", name=name)
            delivery = await stage.delivery(made, receiver, number)
            assert delivery.state is DeliveryState.DELIVERED
        ids = {json.loads(each.body)["eventId"] for each in receiver.received}
        assert (len(receiver.received), len(ids)) == (2, 1)


async def test_a_failed_delivery_is_sent_again(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """With the same id, and a new signature."""
    server, gate = demo
    async with (
        receiving(answering(503, Retry_After="0")) as receiver,
        staged(location, server, tmp_path) as stage,
    ):
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name)
        gate.release()
        await receiver.after(1)
        receiver.behavior = answering(204)
        first, second = await receiver.after(2)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert body_of(second, made)["name"] == DONE
        assert (await stage.settled(made)).attempts == 2


async def test_the_log_says_why_a_webhook_cannot_be_reached(
    location: Location, tmp_path: Path, demo: Demo, caplog: pytest.LogCaptureFixture
) -> None:
    """Its owner gets only the kind, because the text may tell about the gateway's network."""
    server, gate = demo
    async with staged(location, server, tmp_path) as stage:
        name = await stage.start()
        async with receiving(answering(200)) as receiver:
            made = await stage.hook(receiver, backend="demo", name=name)
        gate.release()
        why = "the receiver does not accept connections"
        line = f"webhook {made.subscription.id} cannot be reached: {why}"
        while line not in caplog.messages:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


async def test_410_ends_a_rest_hook(location: Location, tmp_path: Path, demo: Demo) -> None:
    """The dead delivery can be sent again once the hook is enabled."""
    server, gate = demo
    async with (
        receiving(answering(410)) as receiver,
        staged(location, server, tmp_path) as stage,
    ):
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name)
        gate.release()
        dead = await stage.delivery(made, receiver)
        id_ = made.subscription.id
        subscribing = stage.deliveries.subscribing
        assert (await subscribing.get(ALICE, id_)).state is SubscriptionState.DISABLED
        receiver.behavior = answering(200)
        await subscribing.set_state(ALICE, id_, SubscriptionState.ACTIVE)
        (again,), _ = await stage.deliveries.redeliver_page(ALICE, id_)
        assert again.id == dead.id
        delivered = await stage.delivery(made, receiver, 2)
        assert (delivered.state, delivered.attempts) == (DeliveryState.DELIVERED, 1)


async def test_an_event_for_many_webhooks_does_not_stop_the_loop(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few attempts read their webhooks at a time, and all are made."""
    monkeypatch.setattr("lro_gateway.deliveries.sending._BEGINNING", 2)
    server, gate = demo
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        ids = [(await stage.hook(receiver, mine=True)).subscription.id for _ in range(12)]
        subscriptions = stage.subscriptions
        reading, most, get = 0, 0, subscriptions.get

        async def counted(id_: str) -> Any:
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            try:
                return await get(id_)
            finally:
                reading -= 1

        monkeypatch.setattr(subscriptions, "get", counted)
        await stage.start()
        gate.release()
        await receiver.after(len(ids))
        await stage.deliveries.sender.drain()
        assert (most, reading) == (2, 0)
        monkeypatch.undo()
        for each in ids:
            (delivery,), _ = await stage.deliveries.deliveries(ALICE, each)
            assert delivery.state is DeliveryState.DELIVERED


async def test_very_many_deliveries_do_not_begin_at_once(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would fill the memory. One that is sent again alone does not wait for them."""
    server, gate = demo
    async with (
        receiving(answering(413)) as receiver,
        staged(location, server, tmp_path) as stage,
    ):
        made = await stage.hook(receiver, mine=True)
        for each in ("one", "two"):
            await stage.start(each)
        gate.release()
        await receiver.after(2)
        await stage.deliveries.sender.drain()
        receiver.behavior = answering(200)
        monkeypatch.setattr("lro_gateway.deliveries.sending._PER_SECOND", 1 / 3600)
        id_ = made.subscription.id
        (first, second), _ = await stage.deliveries.redeliver_page(ALICE, id_)
        assert (await receiver.after(3))[2].headers["webhook-id"] == first.event.id
        await stage.deliveries.redeliver(ALICE, id_, second.id)
        assert (await receiver.after(4))[3].headers["webhook-id"] == second.event.id
        assert len(receiver.received) == 4


@pytest.mark.parametrize("status", [302, 413])
async def test_a_redirect_is_a_failure_and_413_ends_a_delivery(
    location: Location, tmp_path: Path, demo: Demo, status: int
) -> None:
    """The hook stays."""
    server, gate = demo
    behavior = answering(status, Location="http://127.0.0.1:1/", Retry_After="0")
    async with receiving(behavior) as receiver, staged(location, server, tmp_path) as stage:
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name)
        gate.release()
        delivery = await stage.delivery(made, receiver)
        state = DeliveryState.DEAD if status == 413 else DeliveryState.PENDING
        assert (delivery.state, delivery.error) == (state, f"http_{status // 100}xx")
        kept = await stage.deliveries.subscribing.get(ALICE, made.subscription.id)
        assert kept.state is SubscriptionState.ACTIVE


async def test_a_lost_right_ends_deliveries(location: Location, tmp_path: Path, demo: Demo) -> None:
    """The policy is asked before each attempt. What is not sent says nothing of the receiver."""
    server, gate = demo
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name)
        stage.policy.refuses = lambda caller, _action: caller.subject == "alice"
        seen = stage.gateway.service.watch(BOB, NameRequest(name))
        gate.release()
        async for _ in seen:
            pass
        other = await stage.hook(receiver, BOB, backend="demo", name=name)
        await receiver.after(1)
        await stage.deliveries.sender.drain()
        id_ = made.subscription.id
        assert await stage.deliveries.deliveries(ALICE, id_) == ([], "")
        stage.policy.refuses = lambda _caller, _action: False
        assert (await stage.settled(made)).error == "not_permitted"
        kept = await stage.deliveries.subscribing.get(ALICE, id_)
        assert (kept.failing, kept.error) == (None, "")
        assert [body_of(each, other)["name"] for each in receiver.received] == [DONE]


async def test_webhooks_belong_to_their_makers(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """For anybody else they do not exist, and without an identity there is none."""
    server, _ = demo
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        made = await stage.hook(receiver)
        with pytest.raises(StatusError, match="there is no such webhook"):
            await stage.deliveries.subscribing.get(BOB, made.subscription.id)
        with pytest.raises(StatusError, match="a webhook needs a caller with an identity"):
            await stage.hook(receiver, ANONYMOUS)
        with pytest.raises(StatusError, match="there is no such webhook"):
            await stage.deliveries.subscribing.remove(EVE, made.subscription.id)
        await stage.deliveries.subscribing.remove(ALICE, made.subscription.id)
        assert await stage.deliveries.subscribing.page(ALICE, "", 10) == []


async def test_rotated_secrets_sign_beside_the_old_ones(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """So a receiver can change its own when it likes, also if somebody rotates twice."""
    server, gate = demo
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name)
        rotate = partial(stage.deliveries.subscribing.rotate, ALICE, made.subscription.id)
        chosen = SecretStr(new_secret())
        assert await rotate(chosen) == await rotate(chosen)
        rotated = [await rotate() for _ in range(5)]
        gate.release()
        (received,) = await receiver.after(1)
        for secret in rotated:
            Webhook(secret.get_secret_value()).verify(received.body, received.headers)
        for secret in (made.secret, chosen):
            with pytest.raises(WebhookVerificationError):
                Webhook(secret.get_secret_value()).verify(received.body, received.headers)


async def test_a_renewal_leaves_what_attempts_have_recorded_meanwhile(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """A failure that came after the renewal had read the webhook must still count."""
    server, gate = demo
    async with receiving(answering(503)) as receiver, staged(location, server, tmp_path) as stage:
        made = await stage.hook(receiver, backend="demo", name=await stage.start())
        before = await stage.subscriptions.get(made.subscription.id)
        gate.release()
        await stage.delivery(made, receiver)
        assert await stage.subscriptions.put(replace(before, url=f"{receiver.url}/2"), 100)
        after = await stage.subscriptions.get(made.subscription.id)
        assert (after.url, after.error) == (f"{receiver.url}/2", "http_5xx")
        assert after.failing is not None


async def test_what_a_process_leaves_its_successor_delivers(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Operations are followed again, failed deliveries are sent again, and nothing is lost."""
    server, gate = demo
    async with receiving(answering(503)) as receiver:
        async with staged(location, server, tmp_path) as stage:
            name = await stage.start()
            made = await stage.hook(receiver, backend="demo", name=name, kinds=(STARTED, DONE))
            await receiver.after(1)
        receiver.behavior = answering(200)
        async with staged(location, server, tmp_path) as stage:
            gate.release()
            received = (await receiver.after(3))[1:]
            kinds = {body_of(each, made)["name"] for each in received}
            assert kinds == {STARTED, DONE}


async def test_a_reader_gets_each_event_once(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Pages and streams tell the same events, to those who may read the operation."""
    server, gate = demo
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(staged(location, server, tmp_path))
        everything = Selection()
        begin = cursor_of((await stage.deliveries.page(ALICE, everything, None)).end)
        stream = stage.deliveries.stream(ALICE, everything, None)
        stack.push_async_callback(stream.aclose)
        assert (await anext(stream)).events == ()
        await stage.start()
        (started,) = (await anext(stream)).events
        gate.release()
        (done,) = (await anext(stream)).events
        assert [(each.kind, each.number) for each in (started, done)] == [(STARTED, 1), (DONE, 2)]
        page = await stage.deliveries.page(ALICE, everything, begin)
        assert [each.id for each in page.events] == [started.id, done.id]
        after = cursor_of(started.position, started.at)
        page = await stage.deliveries.page(ALICE, everything, after)
        assert [each.id for each in page.events] == [done.id]
        stage.policy.refuses = lambda caller, _action: caller.subject == "eve"
        assert (await stage.deliveries.page(EVE, everything, begin)).events == []
        with pytest.raises(StatusError, match="did not make this cursor"):
            await stage.deliveries.page(ALICE, everything, "1-2-nothing")


async def test_an_old_cursor_is_told_that_events_are_missing(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """They are kept for a week."""
    async with staged(location, demo[0], tmp_path) as stage:
        page = await stage.deliveries.page(ALICE, Selection(), "0-0-1000")
        assert (page.events, page.truncated) == ([], True)


async def test_a_deleted_operation_ends_as_unknown(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Its followers learn that it will not come back."""
    server, _ = demo
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        name = await stage.start()
        made = await stage.hook(receiver, backend="demo", name=name)
        await stage.gateway.service.delete(ALICE, NameRequest(name))
        (received,) = await receiver.after(1)
        data = body_of(received, made)["data"]
        assert (data["state"], data["error"]["code"]) == ("unknown", 5)


async def test_an_operation_that_stalls_is_told_once(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """With how long it has not changed, and how long its method takes."""
    server, _ = demo
    backend = {"expected_times": {"*/CreateDatabase": "1s"}}
    async with (
        receiving(answering(200)) as receiver,
        staged(location, server, tmp_path, backend, progress_interval="100ms") as stage,
    ):
        made = await stage.hook(receiver, mine=True, kinds=(STALLED, DONE))
        name = await stage.start()
        (received,) = await receiver.after(1)
        body = body_of(received, made)
        assert (body["name"], body["data"]["operation"]) == (STALLED, name)
        assert body["data"]["expectedTime"] == "1s"
        await stage.gateway.service.delete(ALICE, NameRequest(name))
        kinds = [body_of(each, made)["name"] for each in await receiver.after(2)]
        assert kinds == [STALLED, DONE]


async def test_a_call_that_waits_for_an_approval_is_told(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """To who may approve it, with its address and without its request."""
    server, _ = demo
    (tmp_path / "tokens.toml").write_text("")
    auth = {"tokens": str(tmp_path / "tokens.toml"), "resource": "https://lro.example/base/mcp"}
    backend = {"approval": ["*/CreateDatabase"]}
    async with (
        receiving(answering(200)) as receiver,
        staged(location, server, tmp_path, backend, tables={"auth": auth}) as stage,
    ):
        made = await stage.hook(receiver, BOB, kinds=(APPROVAL,))
        handle = await stage.start()
        (received,) = await receiver.after(1)
        data = body_of(received, made)["data"]
        assert data.pop("expireTime").endswith("Z")
        assert data == {
            "operation": handle,
            "backend": "demo",
            "number": 1,
            "method": "lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase",
            "state": "pending",
            "requester": str(ALICE),
            "url": f"https://lro.example/base/v1/{handle}",
        }


async def test_a_caller_that_reads_too_many_selections_is_refused(
    location: Location, tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that nobody writes down would be missed without a word. Renewals count once."""
    monkeypatch.setattr("lro_gateway.deliveries.subscribing._MOST_READERS", 1)
    server, _ = demo
    one, other = (Selection(kinds=(DONE,), backend=each) for each in ("demo", ""))
    async with staged(location, server, tmp_path) as stage:
        for _ in range(2):
            await stage.deliveries.page(ALICE, one, None)
        with pytest.raises(StatusError, match="reads 1 selections of events") as refused:
            await stage.deliveries.page(ALICE, other, None)
        assert refused.value.reason == "TOO_MANY_SELECTIONS"
        await stage.deliveries.page(BOB, other, None)


async def test_readers_and_webhooks_have_bounds_of_their_own(location: Location) -> None:
    """What has expired does not count."""
    alice = Owner.of(ALICE)

    def subscription(id_: str, url: str, expires: dt.datetime | None = None) -> Subscription:
        face = "rest" if url else "reader"
        return Subscription(id_, face, alice, "", "{}", url, (), Selection(), expires=expires)

    past = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    async with open_store(location) as store:
        put = store.events.subscriptions.put
        assert await put(subscription("old", "", past), 1)
        assert await put(subscription("reader", ""), 1)
        assert not await put(subscription("another", ""), 1)
        assert await put(subscription("hook", "https://hooks.example/"), 1)
        assert not await put(subscription("more", "https://hooks.example/"), 1)
        assert await put(subscription("reader", ""), 1)


async def test_a_stream_of_an_operation_ends_when_its_reader_may_no_longer_read_it(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """And one of many operations only leaves its events out."""
    server, _ = demo
    async with staged(location, server, tmp_path) as stage, AsyncExitStack() as stack:
        one = Selection(backend="demo", name=await stage.start())
        streams = [
            stage.deliveries.stream(ALICE, each, None, every=0.1) for each in (one, Selection())
        ]
        for each in streams:
            stack.push_async_callback(each.aclose)
            await anext(each)
        stage.policy.refuses = lambda caller, _action: caller.subject == "alice"
        with pytest.raises(StatusError, match="may no longer be read") as refused:
            async for _page in streams[0]:
                pass
        assert refused.value.code is Code.PERMISSION_DENIED
        assert [*(await anext(streams[1])).events] == []


@pytest.mark.parametrize(("codes", "code"), [("draft", -32024), ("sketch", -32012)])
async def test_a_webhook_of_mcp_is_told_that_it_has_ended(
    location: Location, tmp_path: Path, demo: Demo, codes: str, code: int
) -> None:
    """Its owner may no longer read the operation. The code is one of the set that is chosen."""
    authority = Authority(tmp_path)
    server, gate = demo
    async with (
        receiving(echo, authority.issue("receiver")) as receiver,
        staged(location, server, tmp_path, ca=str(authority.file), error_codes=codes) as stage,
    ):
        name = await stage.start()
        selection, secret = Selection((DONE,), "demo", name), SecretStr(new_secret())
        request = WebhookRequest("mcp", receiver.url, selection, secret)
        made = await stage.deliveries.subscribe(ALICE, request)
        stage.policy.refuses = lambda caller, _action: caller.subject == "alice"
        gate.release()
        _, control = await receiver.after(2)
        assert control.headers["webhook-id"].startswith("msg_terminated_")
        reason = "the operation may no longer be read"
        data = {"reason": "PERMISSION_DENIED"}
        error = {"code": code, "message": reason, "data": data}
        assert body_of(control, made) == {"type": "terminated", "error": error}


async def test_each_webhook_of_mcp_gets_an_id_of_its_own_where_that_is_set(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Those of REST get the id of the event."""
    authority = Authority(tmp_path)
    server, gate = demo
    async with (
        receiving(echo, authority.issue("receiver")) as receiver,
        staged(location, server, tmp_path, ca=str(authority.file), webhook_id="message") as stage,
    ):
        name = await stage.start()
        one, every = Selection((DONE,), "demo", name), Selection((DONE,), "demo")
        for face, selection in (("mcp", one), ("mcp", every), ("rest", one)):
            request = WebhookRequest(face, receiver.url, selection, SecretStr(new_secret()))
            await stage.deliveries.subscribe(ALICE, request)
        gate.release()
        bodies = [(each.headers, json.loads(each.body)) for each in await receiver.after(4)]
        events = [(headers, body) for headers, body in bodies if "eventId" in body]
    (event,) = {body["eventId"] for _, body in events}
    ids = sorted(headers["webhook-id"] for headers, _ in events)
    assert len(set(ids)) == len(ids) == 3
    assert [each.rpartition("_")[0] for each in ids] == ["evt", "msg_event", "msg_event"]
    assert event in ids


async def test_a_lost_key_ends_deliveries(location: Location, tmp_path: Path, demo: Demo) -> None:
    """Nobody can sign them any more, and the others go on."""
    server, gate = demo
    async with receiving(answering(200)) as receiver:
        async with staged(location, server, tmp_path) as stage:
            name = await stage.start()
            lost = await stage.hook(receiver, backend="demo", name=name)
        async with staged(location, server, tmp_path, key=b"another" * 8) as stage:
            made = await stage.hook(receiver, backend="demo", name=name)
            gate.release()
            (received,) = await receiver.after(1)
            assert body_of(received, made)["name"] == DONE
            assert (await stage.settled(lost)).error == "secret_lost"


async def test_a_webhook_whose_key_is_lost_says_so_and_gets_another_secret(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Then its dead delivery can be sent again."""
    server, gate = demo
    async with receiving(answering(200)) as receiver:
        async with staged(location, server, tmp_path) as stage:
            name = await stage.start()
            id_ = (await stage.hook(receiver, backend="demo", name=name)).subscription.id
        async with staged(location, server, tmp_path, key=b"another" * 8) as stage:
            subscribing = stage.deliveries.subscribing
            gate.release()
            async with asyncio.timeout(60):
                while (found := await subscribing.get(ALICE, id_)).reason == "":
                    await stage.deliveries.sender.drain()
            assert found.state is SubscriptionState.DISABLED
            assert found.reason.startswith("server.keys has no key that opens its secret; rotate")
            secret = await subscribing.rotate(ALICE, id_)
            await subscribing.set_state(ALICE, id_, SubscriptionState.ACTIVE)
            await stage.deliveries.redeliver_page(ALICE, id_)
            (received,) = await receiver.after(1)
            Webhook(secret.get_secret_value()).verify(received.body, received.headers)


async def test_an_mcp_webhook_must_answer_a_challenge(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """It goes only to HTTPS, and its identity is who, where and what."""
    authority = Authority(tmp_path)
    server, gate = demo
    async with (
        receiving(echo, authority.issue("receiver")) as receiver,
        staged(location, server, tmp_path, ca=str(authority.file)) as stage,
    ):
        name = await stage.start()
        secret = SecretStr(new_secret())
        selection = Selection((DONE,), "demo", name)
        request = WebhookRequest("mcp", receiver.url, selection, secret)
        # A webhook of REST with the same URL has shown nothing of its receiver.
        await stage.hook(receiver, kinds=(STALLED,), backend="demo", name=name)
        first = await stage.deliveries.subscribe(ALICE, request)
        second = await stage.deliveries.subscribe(ALICE, request)
        assert first.before is None
        assert second.before is not None
        assert first.subscription.id == second.subscription.id
        gate.release()
        challenge, event = await receiver.after(2)
        assert json.loads(challenge.body)["type"] == "verification"
        assert event.headers["x-mcp-subscription-id"] == first.subscription.id
        receiver.behavior = answering(200, b'{"challenge": "wrong"}')
        with pytest.raises(StatusError, match="it did not repeat the challenge"):
            await stage.deliveries.subscribe(BOB, request)
        plain = WebhookRequest("mcp", receiver.url.replace("https", "http"), selection, secret)
        with pytest.raises(StatusError, match="its scheme must be https"):
            await stage.deliveries.subscribe(ALICE, plain)


async def test_few_challenges_at_a_time_go_to_one_origin(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """A caller chooses where they go, and must not flood anybody with them."""
    authority = Authority(tmp_path)
    server, _ = demo
    waiting: list[asyncio.Event] = []
    most = 0

    async def late(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        answers = asyncio.Event()
        waiting.append(answers)
        most = max(most, len(waiting))
        if len(waiting) == 4:
            for each in waiting:
                each.set()
            waiting.clear()
        await answers.wait()
        await echo(request, writer)

    async with (
        receiving(late, authority.issue("receiver")) as receiver,
        staged(location, server, tmp_path, ca=str(authority.file)) as stage,
    ):

        async def subscribe(number: int) -> None:
            url, secret = f"{receiver.url}/{number}", SecretStr(new_secret())
            await stage.deliveries.subscribe(
                ALICE, WebhookRequest("mcp", url, Selection((DONE,), mine=True), secret)
            )

        async with asyncio.TaskGroup() as subscribing:
            for number in range(12):
                subscribing.create_task(subscribe(number))
        assert most == 4
        assert len(receiver.received) == 12
