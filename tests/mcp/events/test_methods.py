"""MCP Events, with a client of these tests and with one of another project, in both eras."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator
from standardwebhooks import Webhook

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.config.models import GatewayConfig
from lro_gateway.deliveries.signing import new_secret
from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import Location
from lro_gateway.serving.http import serve_http
from tests.access.callers_of import bearing, identifying
from tests.certificates import Authority, Identity
from tests.deliveries.receiver import Received, Receiver, answering, receiving
from tests.googleapis.test_node_client import NODE

ERAS: Final = ("2026-07-28", "2025-11-25")
_SCRIPT: Final = Path(__file__).parents[2] / "node" / "events_client.mjs"
_SDK: Final = Path(".venv/node-backend/node_modules/@ai-sdk/mcp/dist/index.js").absolute()


@dataclass
class Stage:
    """A gateway whose callers have tokens, in front of the demo's backend."""

    url: str
    tokens: dict[str, str]
    gate: Gate
    identity: Identity
    era: str = ERAS[0]
    who: str = "alice"

    async def start(self, database: str = "one") -> str:
        """Start an operation, and return its name."""
        async with bearing(self.url, self.tokens["alice"]) as client:
            body = {"databaseId": database, "rowCount": 2}
            return str((await client.post("/v1/databases", json=body)).json()["name"])

    async def call(self, method: str, **params: Any) -> Any:
        """Return the result of a request, or its error."""
        async with bearing(self.url, self.tokens.get(self.who, "")) as client:
            answer = await client.post("/mcp", **self.request(method, params))
        text = answer.text
        data = text.rsplit("data: ", 1)[1] if "data: " in text else text
        found = json.loads(data)
        return found["result"] if "result" in found else found["error"]

    async def streamed(self, method: str, number: int = 2, **params: Any) -> list[Any]:
        """Return the first notifications of a stream, and let operations go on after the first."""
        found: list[Any] = []
        async with aclosing(self.messages(method, **params)) as messages:
            async for each in messages:
                found.append(each)
                self.gate.release()
                if len(found) == number:
                    break
        return found

    async def messages(self, method: str, **params: Any) -> AsyncGenerator[Any]:
        """Yield the messages of a stream, the answer of the request as the last one."""
        async with (
            bearing(self.url, self.tokens[self.who]) as client,
            client.stream("POST", "/mcp", **self.request(method, params)) as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the body and the headers of a request of this era."""
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": self.era,
        }
        if self.era == ERAS[0]:
            headers["mcp-method"] = method
            meta = {
                "io.modelcontextprotocol/protocolVersion": self.era,
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            params = {**params, "_meta": meta}
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        return {"json": body, "headers": headers}


@asynccontextmanager
async def opened(
    directory: Path,
    *,
    store: bool = True,
    **deliveries: Any,
) -> AsyncIterator[Stage]:
    """Open a stage."""
    lines, tokens = [], {}
    for who, tenant in (("alice", "acme"), ("eve", "other")):
        tokens[who], entry = new_token(who, tenant=tenant)
        lines.append(entry.line)
    file = directory / "tokens.toml"
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    authority = Authority(directory)
    gate = Gate()
    gate.hold()
    settings = {"allowed_addresses": ["127.0.0.1"], "ca": str(authority.file), **deliveries}
    async with (
        DemoServer.open(directory / "demo", pace=gate) as demo,
        identifying(
            {"tokens": str(file)},
            {"name": "demo", "target": demo.target},
            store={"url": Location(directory / "store.sqlite3") if store else "none"},
            deliveries=settings,
        ) as (_, url),
    ):
        yield Stage(url, tokens, gate, authority.issue("receiver"))


@pytest.fixture(params=ERAS)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """Open a stage in an era."""
    async with opened(tmp_path) as found:
        yield replace(found, era=request.param)


async def echo(request: Received, writer: asyncio.StreamWriter) -> None:
    """Repeat the challenge, and take everything else."""
    challenge = json.loads(request.body).get("challenge")
    await answering(200, json.dumps({"challenge": challenge}).encode())(request, writer)


@pytest.fixture
async def receiver(stage: Stage) -> AsyncIterator[Receiver]:
    """Run a receiver over HTTPS."""
    async with receiving(echo, stage.identity) as running:
        yield running


async def test_events_are_announced_in_both_ways(stage: Stage) -> None:
    """Some clients read only the one, and some only the other."""
    if stage.era == ERAS[0]:
        found = await stage.call("server/discover")
    else:
        info = {"name": "test", "version": "1"}
        found = await stage.call(
            "initialize", protocolVersion=stage.era, capabilities={}, clientInfo=info
        )
    capabilities = found["capabilities"]
    assert capabilities["extensions"]["io.modelcontextprotocol/events"] == {}
    assert capabilities["events"] == {}


async def test_without_a_store_there_are_no_events(tmp_path: Path) -> None:
    """The methods do not exist then."""
    async with opened(tmp_path, store=False) as stage:
        assert (await stage.call("events/list"))["code"] == -32601
        assert "events" not in (await stage.call("server/discover"))["capabilities"]


async def test_each_kind_of_event_is_described(stage: Stage) -> None:
    """With both schemas, and all ways of delivery."""
    found = (await stage.call("events/list"))["events"]
    assert [each["name"].partition(".")[2] for each in found] == [
        *("started", "progress", "done", "stalled", "requested", "disabled")
    ]
    for each in found:
        assert each["delivery"] == ["poll", "push", "webhook"]
        assert each["inputSchema"]["type"] == each["payloadSchema"]["type"] == "object"


@pytest.mark.parametrize("method", ["events/list", "resources/templates/list"])
async def test_a_list_of_one_page_has_no_cursors(stage: Stage, method: str) -> None:
    """A cursor of another list, or of another server, is refused."""
    assert (await stage.call(method, cursor="1-1-1"))["code"] == -32602
    assert "code" not in await stage.call(method, cursor="")


async def test_a_client_polls(stage: Stage) -> None:
    """From now on without a cursor, and then from page to page."""
    wanted: dict[str, Any] = {"name": "operation.done", "arguments": {"mine": True}}
    first = await stage.call("events/poll", **wanted, cursor=None)
    shown = {key: first[key] for key in ("events", "truncated", "hasMore", "nextPollMs")}
    assert shown == {"events": [], "truncated": False, "hasMore": False, "nextPollMs": 5000}
    name = await stage.start()
    stage.gate.release()
    await stage.streamed("events/stream", **wanted, cursor=first["cursor"])
    page = await stage.call("events/poll", **wanted, cursor=first["cursor"])
    (event,) = page["events"]
    assert event["data"]["operation"] == name
    assert (await stage.call("events/poll", **wanted, cursor=page["cursor"]))["events"] == []


async def test_each_event_is_as_its_schema_says(stage: Stage) -> None:
    """It has no field that the schema lacks, and no other argument is accepted."""
    described = {each["name"]: each for each in (await stage.call("events/list"))["events"]}
    begin = (await stage.call("events/poll", name="operation.done"))["cursor"]
    name = await stage.start()
    wanted: dict[str, Any] = {"arguments": {"operation": name}, "cursor": begin}
    started = stage.messages("events/stream", name="operation.started", **wanted)
    async with aclosing(started) as messages:
        assert [(await anext(messages))["method"] for _ in range(2)] == [
            "notifications/events/active",
            "notifications/events/event",
        ]
    await stage.streamed("events/stream", name="operation.done", **wanted)
    for kind in ("operation.started", "operation.done"):
        (event,) = (await stage.call("events/poll", name=kind, **wanted))["events"]
        schema = {**described[kind]["payloadSchema"], "additionalProperties": False}
        assert [*Draft202012Validator(schema).iter_errors(event["data"])] == []
        arguments = Draft202012Validator(described[kind]["inputSchema"])
        assert arguments.is_valid(wanted["arguments"])
        assert not arguments.is_valid({"other": 1})


async def test_a_client_streams(stage: Stage) -> None:
    """The stream begins with its cursor, and each event has its own."""
    name = await stage.start()
    wanted: dict[str, Any] = {"name": "operation.done", "arguments": {"operation": name}}
    found = await stage.streamed("events/stream", **wanted)
    assert [each["method"] for each in found] == [
        "notifications/events/active",
        "notifications/events/event",
    ]
    for each in found:
        assert each["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 7}
        assert each["params"]["cursor"]
    assert found[1]["params"]["data"]["operation"] == name


async def test_a_stream_outlasts_a_store_that_fails_for_a_moment(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells the error, and goes on after its last cursor."""
    monkeypatch.setattr("lro_gateway.deliveries.feed._FALLBACK", 0.1)
    name = await stage.start()
    wanted: dict[str, Any] = {"name": "operation.done", "arguments": {"operation": name}}
    file, elsewhere = tmp_path / "store.sqlite3", tmp_path / "elsewhere.sqlite3"
    async with aclosing(stage.messages("events/stream", **wanted)) as messages:
        assert (await anext(messages))["method"] == "notifications/events/active"
        file.rename(elsewhere)
        failed = await anext(messages)
        assert failed["method"] == "notifications/events/error"
        assert failed["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 7}
        assert failed["params"]["error"]["code"] == -32603
        assert "store" in failed["params"]["error"]["message"]
        elsewhere.rename(file)
        stage.gate.release()
        async for each in messages:
            if each["method"] == "notifications/events/event":
                break
    assert each["params"]["data"]["operation"] == name


@pytest.mark.parametrize("era", ERAS)
async def test_a_stream_tells_why_it_ends(
    tmp_path: Path, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes as a notification, and the request has its answer."""
    monkeypatch.setattr("lro_gateway.access.identity.static_tokens._BETWEEN_LOOKS", 0.0)
    async with opened(tmp_path) as stage:
        # It is made when all is ready, because a busy machine takes long until then.
        token, entry = new_token("brief", tenant="acme", expires=time.time() + 8)
        stage.tokens["brief"] = token
        (tmp_path / "tokens.toml").write_text(entry.line)
        brief = replace(stage, who="brief", era=era)
        stream = brief.messages("events/stream", name="operation.done", arguments={"mine": True})
        active, terminated, answer = [each async for each in stream]
    assert active["method"] == "notifications/events/active"
    assert terminated["method"] == "notifications/events/terminated"
    error = terminated["params"]["error"]
    assert (error["code"], error["message"]) == (
        -32024,
        "the token has expired; get a new one",
    )
    assert answer["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 7


async def test_a_client_subscribes(stage: Stage, receiver: Receiver) -> None:
    """It verifies, receives, refreshes with another secret, and unsubscribes."""
    name = await stage.start()
    secret, other = new_secret(), new_secret()
    wanted: dict[str, Any] = {"name": "operation.done", "arguments": {"operation": name}}
    webhook = {"mode": "webhook", "url": receiver.url}

    async def subscribe(with_secret: str, **more: Any) -> Any:
        delivery = {**webhook, "secret": with_secret}
        return await stage.call("events/subscribe", **wanted, delivery=delivery, **more)

    first = await subscribe(secret, ttlMs=3_600_000)
    assert (first["truncated"], "deliveryStatus" in first) == (False, False)
    assert first["refreshBefore"].endswith("Z")
    second = await subscribe(other, ttlMs=None)
    assert (second["id"], second["refreshBefore"]) == (first["id"], None)
    assert second["deliveryStatus"]["active"] is True
    stage.gate.release()
    challenge, event = await receiver.after(2)
    assert Webhook(secret).verify(challenge.body, challenge.headers)["type"] == "verification"
    bodies = [Webhook(each).verify(event.body, event.headers) for each in (secret, other)]
    assert [each["eventId"] for each in bodies] == [event.headers["webhook-id"]] * 2
    body = bodies[0]
    assert body["eventId"] == event.headers["webhook-id"]
    assert event.headers["x-mcp-subscription-id"] == first["id"]
    done = await stage.call("events/unsubscribe", **wanted, delivery={"url": receiver.url})
    assert "code" not in done
    again = await stage.call("events/unsubscribe", **wanted, delivery=webhook)
    assert (again["code"], again["data"]["kind"]) == (-32023, "subscription")


async def test_a_short_name_of_a_method_is_the_same_subscription(
    stage: Stage, receiver: Receiver
) -> None:
    """As its full name, also when it ends."""
    webhook = {"mode": "webhook", "url": receiver.url, "secret": new_secret()}
    full = "lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase"

    async def call(method: str, name: str) -> Any:
        wanted = {"name": "operation.done", "arguments": {"method": name}}
        return await stage.call(f"events/{method}", **wanted, delivery=webhook)

    made = await call("subscribe", "CreateDatabase")
    assert (await call("subscribe", full))["id"] == made["id"]
    assert "code" not in await call("unsubscribe", "create_database")
    unknown = await call("unsubscribe", "CreateDatabse")
    assert (unknown["code"], unknown["data"]["kind"]) == (-32023, "subscription")
    arguments = {"method": "CreateDatabse"}
    refused = await stage.call("events/poll", name="operation.done", arguments=arguments)
    assert f"there are: {full}, " in refused["message"]


@pytest.mark.parametrize(
    ("name", "arguments", "delivery", "code"),
    [
        ("operation.nothing", {}, {}, -32023),
        ("operation.done", {"other": 1}, {}, -32602),
        ("operation.done", {"states": ["odd"]}, {}, -32602),
        ("operation.done", {"backend": "nobody"}, {}, -32602),
        ("operation.done", {"method": "CreateDatabse"}, {}, -32602),
        ("operation.done", {}, {"mode": "poll"}, -32026),
        ("operation.done", {}, {"url": "http://127.0.0.1/"}, -32602),
        ("operation.done", {}, {"url": "https://10.0.0.1/"}, -32602),
        ("operation.done", {}, {"secret": "whsec_short"}, -32602),
        ("operation.done", {}, {"url": "https://127.0.0.1:1/"}, -32027),
    ],
)
async def test_a_wrong_subscription_has_its_code(
    stage: Stage, name: str, arguments: Any, delivery: Any, code: int
) -> None:
    """The codes are those of the draft."""
    given = {"mode": "webhook", "url": "https://hooks.example/", "secret": new_secret(), **delivery}
    found = await stage.call("events/subscribe", name=name, arguments=arguments, delivery=given)
    assert found["code"] == code, found


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({}, -32023, "there is no such event; there are: operation.started"),
        ({"name": "operation.done"}, -32602, "url: the URL cannot be used"),
        (
            {"name": "operation.done", "delivery": {"url": "https://hooks.example/"}},
            -32602,
            "secret: a secret is needed",
        ),
    ],
)
async def test_what_a_subscription_lacks_is_named(
    stage: Stage, params: dict[str, Any], code: int, message: str
) -> None:
    """A model can then add it."""
    error = await stage.call("events/subscribe", **params)
    assert error["code"] == code
    assert error["message"].startswith(message)


async def test_the_status_of_deliveries_has_the_words_of_the_draft(
    stage: Stage, receiver: Receiver
) -> None:
    """The draft has no word of its own for a redirect."""
    wanted: dict[str, Any] = {
        "name": "operation.done",
        "arguments": {"operation": await stage.start()},
    }
    webhook = {"mode": "webhook", "url": receiver.url, "secret": new_secret()}
    await stage.call("events/subscribe", **wanted, delivery=webhook)
    receiver.behavior = answering(302, Location="http://127.0.0.1:1/")
    stage.gate.release()
    await receiver.after(2)
    async with asyncio.timeout(60):
        while True:
            renewed = await stage.call("events/subscribe", **wanted, delivery=webhook)
            if (status := renewed["deliveryStatus"])["lastError"] is not None:
                break
    assert status.pop("failedSince").endswith("Z")
    assert status == {"active": True, "lastDeliveryAt": None, "lastError": "http_4xx"}


async def test_the_status_tells_of_a_receiver_that_wants_a_pause(
    stage: Stage, receiver: Receiver
) -> None:
    """Deliveries then wait, and do not fail."""
    wanted: dict[str, Any] = {
        "name": "operation.done",
        "arguments": {"operation": await stage.start()},
    }
    webhook = {"mode": "webhook", "url": receiver.url, "secret": new_secret()}
    await stage.call("events/subscribe", **wanted, delivery=webhook)
    receiver.behavior = answering(429, Retry_After="600")
    stage.gate.release()
    await receiver.after(2)
    async with asyncio.timeout(20):
        while True:
            renewed = await stage.call("events/subscribe", **wanted, delivery=webhook)
            if "throttled" in (status := renewed["deliveryStatus"]):
                break
    assert 0 < status.pop("retryAfterMs") <= 600_000
    assert status.pop("failedSince").endswith("Z")
    assert status == {
        "active": True,
        "lastDeliveryAt": None,
        "lastError": "http_4xx",
        "throttled": True,
    }


async def test_a_renewal_tells_that_it_has_resumed_a_suspended_webhook(
    stage: Stage, receiver: Receiver, tmp_path: Path
) -> None:
    """And the next one that it is active."""
    wanted = {"name": "operation.done", "arguments": {"mine": True}}
    webhook = {"mode": "webhook", "url": receiver.url, "secret": new_secret()}
    made = await stage.call("events/subscribe", **wanted, delivery=webhook)
    with closing(sqlite3.connect(tmp_path / "store.sqlite3")) as store, store:
        suspend = "UPDATE subscriptions SET state = 'suspended' WHERE id = ?"
        assert store.execute(suspend, [made["id"]]).rowcount == 1
    found = [await stage.call("events/subscribe", **wanted, delivery=webhook) for _ in range(2)]
    assert [each["deliveryStatus"]["active"] for each in found] == [False, True]


async def test_no_life_of_a_subscription_is_refused(stage: Stage, receiver: Receiver) -> None:
    """The gateway grants what it can, and never a life without an end to who asks for less."""
    wanted = {"name": "operation.done", "arguments": {"mine": True}}
    webhook = {"mode": "webhook", "url": receiver.url, "secret": new_secret()}

    async def is_granted(seconds: int, **params: Any) -> bool:
        before = int(time.time())
        made = await stage.call("events/subscribe", **wanted, delivery=webhook, **params)
        end = datetime.fromisoformat(made["refreshBefore"]).timestamp()
        return before + seconds <= end <= time.time() + seconds

    day = 86_400
    given = {-5: 60, 0: 60, 1: 60, 60_000: 60, 3_600_000: 3600, 10**30: 30 * day}
    found = {ttl: await is_granted(seconds, ttlMs=ttl) for ttl, seconds in given.items()}
    assert found == dict.fromkeys(given, True)
    assert await is_granted(day)


async def test_a_receiver_that_is_not_verified_has_a_reason_and_nothing_of_its_answer(
    stage: Stage, receiver: Receiver
) -> None:
    """The reason is a word of the draft."""
    wanted = {"name": "operation.done", "arguments": {"mine": True}}
    webhook = {"mode": "webhook", "secret": new_secret()}
    answers = (answering(404, b"a secret"), answering(302, Location="https://10.0.0.1/"))
    for behavior in (*answers, answering(200, b"[" * 10_000)):
        receiver.behavior = behavior
        found = await stage.call(
            "events/subscribe", **wanted, delivery={**webhook, "url": receiver.url}
        )
        assert (found["code"], found["data"]) == (-32027, {"reason": "challenge_failed"})
        for text in ("secret", "404", "302", "10.0.0.1"):
            assert text not in found["message"]
    url = "https://127.0.0.1:1/"
    refused = await stage.call("events/subscribe", **wanted, delivery={**webhook, "url": url})
    assert refused["data"] == {"reason": "connection_refused"}


async def test_limits_have_their_names(tmp_path: Path) -> None:
    """And how much they allow."""
    async with (
        opened(tmp_path, max_webhooks_per_principal=1, challenge_rate="3/1h") as stage,
        receiving(echo, stage.identity) as receiver,
    ):

        async def subscribe(number: int) -> Any:
            webhook = {"url": f"{receiver.url}?{number}", "secret": new_secret()}
            return await stage.call(
                "events/subscribe",
                name="operation.done",
                arguments={"mine": True},
                delivery={"mode": "webhook", **webhook},
            )

        assert "code" not in await subscribe(1)
        many = await subscribe(2)
        assert (many["code"], many["data"]) == (
            -32025,
            {"reason": "TOO_MANY_WEBHOOKS", "limit": "subscriptions", "max": 1},
        )
        assert "code" not in await subscribe(1)
        await subscribe(3)
        often = await subscribe(4)
        assert (often["code"], often["data"]) == (
            -32025,
            {"reason": "TOO_MANY_CHALLENGES", "limit": "challenges"},
        )
        assert len(receiver.received) == 3


async def test_a_caller_without_an_identity_has_no_webhooks(tmp_path: Path) -> None:
    """It is not offered them, and can neither make nor end one."""
    async with DemoServer.open(tmp_path / "demo") as demo, AsyncExitStack() as stack:
        config = GatewayConfig.model_validate(
            {
                "server": {"port": 0},
                "store": {"url": Location(tmp_path / "store.sqlite3")},
                "backends": [{"name": "demo", "target": demo.target}],
            }
        )
        gateway = await stack.enter_async_context(Gateway.open(config))
        server = await stack.enter_async_context(serve_http(gateway))
        url = f"http://{server.address}"
        stage = Stage(url, {}, Gate(), Authority(tmp_path).issue("receiver"), who="nobody")
        found = (await stage.call("events/list"))["events"]
        assert [each["delivery"] for each in found] == [["poll", "push"]] * len(found)
        wanted = {"name": "operation.done", "arguments": {}}
        webhook = {"mode": "webhook", "url": "https://hooks.example/", "secret": new_secret()}
        for method in ("events/subscribe", "events/unsubscribe"):
            refused = await stage.call(method, **wanted, delivery=webhook)
            assert (refused["code"], refused["data"]["reason"]) == (
                -32024,
                "WEBHOOK_NEEDS_IDENTITY",
            )
        assert "code" not in await stage.call("events/poll", **wanted)


async def test_an_operation_that_nobody_has_is_no_subscription(stage: Stage) -> None:
    """The error of a reader tells what was not found."""
    name = "databases/one/operations/none"
    webhook = {"mode": "webhook", "url": "https://hooks.example/", "secret": new_secret()}
    wanted = {"name": "operation.done", "arguments": {"operation": name}, "delivery": webhook}
    for method in ("events/poll", "events/stream", "events/subscribe"):
        found = await stage.call(method, **wanted)
        assert (found["code"], found["data"]["kind"]) == (-32023, "operation")


async def test_a_stream_that_begins_later_tells_a_fresh_cursor(stage: Stage) -> None:
    """Once, and events that come later are never too old."""
    wanted: dict[str, Any] = {"name": "operation.done", "arguments": {"mine": True}}
    begin = (await stage.call("events/poll", **wanted))["cursor"]
    await stage.start()
    stage.gate.release()
    await stage.streamed("events/stream", **wanted, cursor=begin)
    async with aclosing(
        stage.messages("events/stream", **wanted, cursor=begin, maxAgeMs=0)
    ) as messages:
        active = await anext(messages)
        assert active["method"] == "notifications/events/active"
        assert active["params"]["truncated"]
        fresh = active["params"]["cursor"]
        assert (await stage.call("events/poll", **wanted, cursor=fresh))["events"] == []
        second = await stage.start("two")
        event = await anext(messages)
        assert event["method"] == "notifications/events/event"
        assert event["params"]["data"]["operation"] == second


@pytest.mark.parametrize(
    ("method", "params", "problem"),
    [
        ("poll", {"arguments": []}, "arguments: input should be a JSON object"),
        ("poll", {"maxEvents": 0}, "maxEvents: input should be greater than or equal to 1"),
        ("stream", {"maxAgeMs": -1}, "maxAgeMs: input should be greater than or equal to 0"),
        ("subscribe", {"ttlMs": "1h"}, "ttlMs: input should be a valid integer"),
        ("subscribe", {"delivery": {"secret": 5}}, "delivery.secret: input should be a valid"),
        ("unsubscribe", {"delivery": {"url": None}}, "delivery.url: input should be a valid"),
    ],
)
async def test_a_wrong_parameter_is_named(
    stage: Stage, method: str, params: Any, problem: str
) -> None:
    """And what it should be."""
    found = await stage.call(f"events/{method}", **{"name": "operation.done", **params})
    assert (found["code"], found["data"]) == (-32602, {"reason": "INVALID_FIELD"})
    assert found["message"].startswith(problem)


async def test_arguments_may_be_null(stage: Stage) -> None:
    """As they may be left out."""
    assert "code" not in await stage.call("events/poll", name="operation.done", arguments=None)


async def test_the_codes_of_the_sketch_are_a_setting(tmp_path: Path) -> None:
    """Some clients expect them."""
    async with opened(tmp_path, error_codes="sketch") as stage:
        found = await stage.call("events/poll", name="operation.nothing")
        assert found["code"] == -32011


@pytest.mark.parametrize("discovers", [True, False], ids=ERAS)
async def test_the_client_of_another_project_follows_an_operation(
    tmp_path: Path, *, discovers: bool
) -> None:
    """It lists, subscribes, verifies, receives, refreshes and unsubscribes."""
    assert _SDK.exists(), "run scripts/setup --tests, which installs it"
    async with opened(tmp_path) as stage:
        given = {
            "url": f"{stage.url}/mcp",
            "token": stage.tokens["alice"],
            "operation": await stage.start(),
            "certificate": str(stage.identity.certificate),
            "key": str(stage.identity.key),
            "protocolVersionDiscovery": discovers,
        }
        process = await asyncio.create_subprocess_exec(
            *(str(NODE), "--no-warnings", str(_SCRIPT), json.dumps(given)),
            env={"AI_SDK": str(_SDK), "PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            subscribed = await process.stdout.readline()
            stage.gate.release()
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, errors.decode()
        assert json.loads(subscribed)["subscribed"].startswith("sub_")
        found = json.loads(output)
        assert (found["same"], found["left"]) == (True, 0)
        assert found["event"]["data"]["operation"] == given["operation"]
