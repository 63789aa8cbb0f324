"""The routes of webhooks, over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.wrappers_pb2 import StringValue
from standardwebhooks import Webhook

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.deliveries.signing import new_secret
from lro_gateway.demo.server import DemoServer
from lro_gateway.records.location import Location
from tests import factory
from tests.access.callers_of import RESOURCE, bearing, identifying
from tests.contrary import Answer, ContraryBackend
from tests.deliveries.receiver import Receiver, answering, receiving
from tests.gateways import serving
from tests.rest.exchanges import error_of
from tests.service.approved import BUILD, backend_of


@asynccontextmanager
async def served(directory: Path, **settings: Any) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Serve a gateway with a store; yields a client for each caller, and for nobody.

    `settings` are more settings of its backend.
    """
    lines, tokens = [], {"nobody": ""}
    for who, tenant in (("alice", "acme"), ("eve", "other")):
        tokens[who], entry = new_token(who, tenant=tenant)
        lines.append(entry.line)
    file = directory / "tokens.toml"
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    async with DemoServer.open(directory / "demo") as demo:
        backend = {"name": "demo", "target": demo.target, **settings}
        opened = identifying(
            {"tokens": str(file)},
            backend,
            store={"url": Location(directory / "store.sqlite3")},
            deliveries={"allowed_addresses": ["127.0.0.1"], "allow_http": True},
        )
        async with opened as (_, url):
            clients = {who: bearing(url, token) for who, token in tokens.items()}
            yield clients
            for client in clients.values():
                await client.aclose()


@pytest.fixture
async def clients(tmp_path: Path) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Serve a gateway."""
    async with served(tmp_path) as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver that takes everything."""
    async with receiving(answering(200)) as running:
        yield running


async def made(client: httpx.AsyncClient, url: str, **body: Any) -> Any:
    """Make a webhook, and return the answer."""
    answer = await client.post("/v1/webhooks", json={"url": url, **body})
    assert answer.is_success, answer.text
    return answer.json()


@pytest.mark.parametrize("path", ["/v1/{}:notify", "/v1/-:notify?name={}"])
async def test_notify_tells_of_one_operation(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver, path: str
) -> None:
    """The secret is shown once."""
    alice = clients["alice"]
    started = await alice.post("/v1/databases", json={"databaseId": "one", "rowCount": 2})
    name = started.json()["name"]
    answer = await alice.post(path.format(name), json={"url": receiver.url})
    hook = answer.json()
    assert (hook["operation"], hook["events"], hook["state"]) == (
        name,
        ["operation.done"],
        "active",
    )
    (received,) = await receiver.after(1)
    body = Webhook(hook["secret"]).verify(received.body, received.headers)
    assert body["data"]["operation"] == name
    shown = (await alice.get(f"/v1/webhooks/{hook['id']}")).json()
    assert "secret" not in shown


async def test_a_cloud_event_has_its_own_form(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver
) -> None:
    """In the structured mode of CloudEvents 1.0."""
    hook = await made(clients["alice"], receiver.url, format="cloudevents", mine=True)
    started = await clients["alice"].post("/v1/databases", json={"databaseId": "one"})
    (received,) = await receiver.after(1)
    assert received.headers["content-type"] == "application/cloudevents+json"
    event = Webhook(hook["secret"]).verify(received.body, received.headers)
    assert {key: event[key] for key in ("specversion", "type", "source", "subject")} == {
        "specversion": "1.0",
        "type": "lro-gateway.operation.done",
        "source": "//demo",
        "subject": started.json()["name"],
    }
    assert event["id"] == received.headers["webhook-id"]


async def test_a_webhook_is_listed_changed_and_ended(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver
) -> None:
    """By its maker alone."""
    alice = clients["alice"]
    hooks = [await made(alice, receiver.url, mine=True) for _ in range(3)]
    first = (await alice.get("/v1/webhooks?pageSize=2")).json()
    rest = (await alice.get(f"/v1/webhooks?pageToken={first['nextPageToken']}")).json()
    ids = [each["id"] for each in first["webhooks"] + rest["webhooks"]]
    assert ids == sorted(each["id"] for each in hooks)
    path = f"/v1/webhooks/{ids[0]}"
    assert (await alice.post(f"{path}:disable")).json()["state"] == "disabled"
    assert (await alice.post(f"{path}:enable")).json()["state"] == "active"
    assert (await alice.post(f"{path}:rotateSecret")).json()["secret"].startswith("whsec_")
    chosen = {"secret": new_secret()}
    assert (await alice.post(f"{path}:rotateSecret", json=chosen)).json() == chosen
    for verb in ("disable", "enable", "rotateSecret", "redeliver", "deliveries/x:redeliver"):
        for wrong in (b'{"odd": 1}', b"not json", b"[]"):
            url = f"{path}/{verb}" if "/" in verb else f"{path}:{verb}"
            assert (await alice.post(url, content=wrong)).status_code == 400, (verb, wrong)
    wrong_secret = await alice.post(f"{path}:rotateSecret", json={"secret": "whsec_x"})
    assert "whsec_ and the base64" in wrong_secret.json()["error"]["message"]
    assert (await alice.get(f"{path}/deliveries")).json() == {"deliveries": []}
    assert (await alice.post(f"{path}:redeliver")).json() == {"deliveries": []}
    for method, of in (("GET", ""), ("POST", ":disable"), ("GET", "/deliveries"), ("DELETE", "")):
        answer = await clients["eve"].request(method, f"{path}{of}")
        reason = answer.json()["error"]["details"][0]["reason"]
        assert (answer.status_code, reason) == (404, "WEBHOOK_NOT_FOUND")
    assert (await alice.delete(path)).json() == {}
    assert (await alice.get(path)).status_code == 404


@pytest.mark.parametrize("which", ["deliveries/{}:redeliver", ":redeliver"])
async def test_a_delivery_whose_next_attempt_is_later_is_sent_now(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver, which: str
) -> None:
    """Whoever has mended a receiver need not wait for minutes."""
    alice = clients["alice"]
    receiver.behavior = answering(503)
    hook = await made(alice, receiver.url, mine=True)
    await alice.post("/v1/databases", json={"databaseId": "one"})
    await receiver.after(1)
    path = f"/v1/webhooks/{hook['id']}/deliveries"
    while not (delivery := (await alice.get(path)).json()["deliveries"][0]).get("error"):
        pass  # The answer is not recorded yet.
    receiver.behavior = answering(200)
    hook_path = f"/v1/webhooks/{hook['id']}"
    separator = "" if which.startswith(":") else "/"
    answer = (await alice.post(f"{hook_path}{separator}{which.format(delivery['id'])}")).json()
    (again,) = answer.get("deliveries", [answer])
    assert again["id"] == delivery["id"]
    assert (again.get("status"), again.get("error")) != (503, delivery["error"])
    first, second = await receiver.after(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    nothing = await alice.post(f"{path}/0:redeliver")
    reason = nothing.json()["error"]["details"][0]["reason"]
    assert (nothing.status_code, reason) == (404, "DELIVERY_NOT_FOUND")


async def test_a_webhook_tells_until_when_its_receiver_wants_nothing(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver
) -> None:
    """To send again what has not arrived ends that."""
    alice = clients["alice"]
    receiver.behavior = answering(503, Retry_After="600")
    hook = await made(alice, receiver.url, mine=True)
    path = f"/v1/webhooks/{hook['id']}"
    assert "throttledUntil" not in hook
    await alice.post("/v1/databases", json={"databaseId": "one"})
    await receiver.after(1)
    while "throttledUntil" not in (found := (await alice.get(path)).json()):
        pass  # The answer is not recorded yet.
    left = datetime.fromisoformat(found["throttledUntil"]) - datetime.now(UTC)
    assert timedelta() < left <= timedelta(minutes=10)
    receiver.behavior = answering(200)
    await alice.post(f"{path}:redeliver")
    await receiver.after(2)
    assert "throttledUntil" not in (await alice.get(path)).json()


async def test_what_has_not_arrived_is_sent_again_a_page_at_a_time(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver
) -> None:
    """After a long outage there may be hundreds of thousands, so no request sends all of them."""
    alice = clients["alice"]
    receiver.behavior = answering(413)
    hook = await made(alice, receiver.url, mine=True)
    for number in range(4):
        await alice.post("/v1/databases", json={"databaseId": f"d{number}"})
    path, dead = f"/v1/webhooks/{hook['id']}", list[str]()
    while len(dead) < 4:
        listed = (await alice.get(f"{path}/deliveries?state=dead")).json()["deliveries"]
        dead = sorted(each["id"] for each in listed)
    receiver.behavior = answering(204)
    sent, body = list[list[str]](), {"pageSize": 2}
    while True:
        page = (await alice.post(f"{path}:redeliver", json=body)).json()
        sent.append([each["id"] for each in page["deliveries"]])
        if "nextPageToken" not in page:
            break
        body = {"pageSize": 2, "pageToken": page["nextPageToken"]}
    assert sent == [dead[:2], dead[2:]]
    received = await receiver.after(8)
    ids = [each.headers["webhook-id"] for each in received]
    assert sorted(ids[:4]) == sorted(ids[4:])
    wrong = await alice.post(f"{path}:redeliver", json={"pageSize": -1})
    assert wrong.json()["error"]["message"] == "pageSize: must not be negative"


async def test_a_delivery_is_listed_and_sent_again(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver
) -> None:
    """Its event keeps its id."""
    alice = clients["alice"]
    hook = await made(alice, receiver.url, mine=True)
    await alice.post("/v1/databases", json={"databaseId": "one"})
    await receiver.after(1)
    path = f"/v1/webhooks/{hook['id']}/deliveries"
    (delivery,) = (await alice.get(path)).json()["deliveries"]
    again = await alice.post(f"{path}/{delivery['id']}:redeliver")
    assert again.json()["event"] == delivery["event"]
    first, second = await receiver.after(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_deliveries_of_what_a_caller_may_not_see_are_not_listed(
    tmp_path: Path, receiver: Receiver
) -> None:
    """A webhook of everything learns no names from them, neither in a list nor in a repeat."""
    async with served(tmp_path, visibility="owner") as clients:
        hidden = await made(clients["eve"], receiver.url)
        shown = await made(clients["alice"], receiver.url)
        await clients["alice"].post("/v1/databases", json={"databaseId": "one"})
        await receiver.after(1)
        path = f"/v1/webhooks/{hidden['id']}"
        assert (await clients["eve"].get(f"{path}/deliveries")).json() == {"deliveries": []}
        assert (await clients["eve"].post(f"{path}:redeliver")).json() == {"deliveries": []}
        found = await clients["alice"].get(f"/v1/webhooks/{shown['id']}/deliveries")
        assert len(found.json()["deliveries"]) == 1
        assert len(receiver.received) == 1


async def test_a_result_that_is_too_large_is_linked(tmp_path: Path, receiver: Receiver) -> None:
    """The event has at most 256 KiB, and the URL at which the gateway answers with the result."""
    result = "x" * 300_000

    async def get(request: Any, _context: Any) -> Answer:
        operation: Any = operations_pb2.Operation(name=request.name, done=True)
        operation.response.Pack(StringValue(value=result))
        answer: Answer = operation
        return answer

    async with (
        ContraryBackend.open({"GetOperation": get}, reflection_versions=("v1",)) as contrary,
        served(tmp_path, target=contrary.target) as clients,
    ):
        body = {"url": receiver.url}
        answer = await clients["alice"].post("/v1/-:notify?name=jobs/1", json=body)
        (received,) = await receiver.after(1)
        event = Webhook(answer.json()["secret"]).verify(received.body, received.headers)
        assert (event["data"]["truncated"], "response" in event["data"]) == (True, False)
        base, _, path = event["data"]["url"].partition("/v1/")
        assert base == RESOURCE
        whole = (await clients["alice"].get(f"/v1/{path}")).json()
        assert whole["response"]["value"] == result


@pytest.mark.parametrize(
    "since", ["yesterday", "2026-11-26T00:00:00", "0001-01-01T00:00:00+23:59", "\u0000", 1e300]
)
async def test_deliveries_since_no_time_are_refused(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver, since: Any
) -> None:
    """A time needs a zone, as everywhere."""
    alice = clients["alice"]
    hook = await made(alice, receiver.url)
    answer = await alice.post(f"/v1/webhooks/{hook['id']}:redeliver", json={"since": since})
    assert answer.status_code == 400, answer.text
    assert "since" in answer.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "ftp://hooks.example/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://hooks.example/", "events": ["operation.nothing"]}, "events"),
        ({"url": "https://hooks.example/", "states": ["odd"]}, "states"),
        ({"url": "https://hooks.example/", "secret": "whsec_short"}, "secret"),
        ({"url": "https://hooks.example/", "backend": "nobody"}, "backend"),
        ({"url": "https://hooks.example/", "more": 1}, "more"),
        ({"url": "https://hooks.example/", "mine": "yes"}, "mine"),
        ({"url": "https://2130706434/"}, "url"),
        ({}, "url"),
    ],
)
async def test_a_wrong_webhook_is_refused(
    clients: dict[str, httpx.AsyncClient], body: dict[str, Any], field: str
) -> None:
    """The error names the field."""
    answer = await clients["alice"].post("/v1/webhooks", json=body)
    assert answer.status_code == 400, answer.text
    assert field in answer.text


async def test_a_webhook_without_a_body_says_what_it_needs(
    clients: dict[str, httpx.AsyncClient],
) -> None:
    """The whole body is missing, and no field of it."""
    for path in ("/v1/webhooks", "/v1/-:notify?name=databases/one/operations/1"):
        error = error_of(await clients["alice"].post(path))
        assert (error["code"], error["message"]) == (
            400,
            "the request needs a body, which is a JSON object",
        )


async def test_what_is_named_twice_counts_once(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver
) -> None:
    """Of the events and of the states."""
    twice = {"events": ["operation.done"] * 2, "states": ["failed", "succeeded", "failed"]}
    hook = await made(clients["alice"], receiver.url, **twice)
    assert (hook["events"], hook["states"]) == (["operation.done"], ["failed", "succeeded"])


async def test_nobody_has_no_webhooks(clients: dict[str, httpx.AsyncClient]) -> None:
    """A caller without credentials gets 401."""
    answer = await clients["nobody"].post("/v1/webhooks", json={"url": "https://hooks.example/"})
    assert answer.status_code == 401


async def test_the_document_has_the_routes(clients: dict[str, httpx.AsyncClient]) -> None:
    """With their summaries."""
    paths = (await clients["alice"].get("/openapi.json")).json()["paths"]
    assert paths["/v1/webhooks"]["post"]["summary"] == "Send events to a URL"
    assert any(path.endswith(":notify") for path in paths)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((each, "/v1/webhooks") for each in ("GET", "POST", "DELETE")),
        *(("POST", "/v1/webhooks/wh_1:enable"), ("GET", "/v1/webhooks/wh_1/deliveries")),
        ("POST", "/v1/jobs/1:notify"),
    ],
)
async def test_a_gateway_without_a_store_says_that_it_has_no_webhooks(
    method: str, path: str
) -> None:
    """Its backend is not asked for an operation of that name."""
    async with ContraryBackend.open({}) as backend:
        settings = {"name": "b", "target": backend.target}
        async with serving(settings) as url, httpx.AsyncClient(base_url=url) as client:
            body = b'{"url": "https://hooks.invalid/"}'
            error = error_of(await client.request(method, path, content=body))
        assert (error["code"], error["details"][0]["reason"]) == (400, "NO_STORE")
        assert "set store.url" in error["message"]
        assert backend.answered == []


async def test_the_paths_of_webhooks_have_no_other_verbs(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver
) -> None:
    """A 405 and OPTIONS list those that there are, and HEAD answers as GET without the body."""
    alice = clients["alice"]
    hook = (await made(alice, receiver.url, mine=True))["id"]
    allowed = {
        "": "GET, HEAD, POST",
        f"/{hook}": "DELETE, GET, HEAD",
        f"/{hook}:disable": "POST",
        f"/{hook}/deliveries": "GET, HEAD",
        f"/{hook}/deliveries/x:redeliver": "POST",
    }
    for path, verbs in allowed.items():
        refused = await alice.put(f"/v1/webhooks{path}")
        options = await alice.options(f"/v1/webhooks{path}")
        assert (refused.status_code, refused.headers["allow"]) == (405, verbs), path
        assert (options.status_code, options.headers["allow"]) == (204, verbs)
    for path in ("", f"/{hook}", f"/{hook}/deliveries"):
        head, get = [await alice.request(each, f"/v1/webhooks{path}") for each in ("HEAD", "GET")]
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]
    assert (await alice.head("/v1/webhooks/wh_1")).status_code == 404
    assert (await alice.delete("/v1/webhooks")).status_code == 405
    assert (await alice.post(f"/v1/webhooks/{hook}:odd")).status_code == 404


async def test_a_system_parameter_chooses_the_form_of_an_answer(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver
) -> None:
    """As on the routes of operations; those without a meaning are ignored."""
    alice = clients["alice"]
    hook = await made(alice, receiver.url, mine=True)
    query = "fields=webhooks(id,state)&prettyPrint=false&$.xgafv=2&page_size=5"
    listed = await alice.get(f"/v1/webhooks?{query}")
    assert listed.text == f'{{"webhooks":[{{"id":"{hook["id"]}","state":"active"}}]}}'
    wrong = await alice.post("/v1/webhooks", params={"fields": "("}, json={"url": receiver.url})
    assert error_of(wrong)["message"].startswith("fields: ")
    assert len((await alice.get("/v1/webhooks")).json()["webhooks"]) == 1
    for size in ("0", "1000", ""):
        page = (await alice.get(f"/v1/webhooks?pageSize={size}")).json()
        assert [each["id"] for each in page["webhooks"]] == [hook["id"]]
    for size in ("-1", "many"):
        assert error_of(await alice.get(f"/v1/webhooks?pageSize={size}"))["code"] == 400
    twice = await alice.get("/v1/webhooks?pageSize=1&page_size=2")
    assert error_of(twice)["message"] == "page_size: is given twice; give it once"


@pytest.mark.parametrize("path", ["/v1/webhooks/%00", "/v1/webhooks?pageToken=%00"])
async def test_a_text_with_a_nul_character_is_refused(
    clients: dict[str, httpx.AsyncClient], path: str
) -> None:
    """PostgreSQL could not look it up."""
    answer = error_of(await clients["alice"].get(path))
    assert answer["message"].endswith(": a text must not have a NUL character")


async def test_notify_finds_a_name_on_a_backend(
    clients: dict[str, httpx.AsyncClient], receiver: Receiver
) -> None:
    """As a read does."""
    path = "/v1/databases/one/operations/1:notify"
    answer = await clients["alice"].post(path, params={"backend": "no"}, json={"url": receiver.url})
    assert error_of(answer)["details"][0]["reason"] == "UNKNOWN_BACKEND"


async def test_every_route_refuses_an_unknown_parameter(tmp_path: Path) -> None:
    """A mistyped `state` would otherwise list everything, and a mistyped `fields` change much."""
    needing = {"approval": ["*/DeleteDatabase"]}
    async with served(tmp_path, **needing) as clients:
        alice = clients["alice"]
        paths = (await alice.get("/openapi.json")).json()["paths"]
        asked = [
            (method.upper(), re.sub(r"\{[^}]*\}", "0" * 32, path))
            for path, methods in [*paths.items(), ("/openapi.json", {"get": {"tags": []}})]
            for method, described in methods.items()
            if "health" not in described["tags"]
        ]
        answers = [
            (method, path, await alice.request(method, path, params={"stat": "x"}))
            for method, path in asked
        ]
        refused = {
            (method, path): error_of(answer)["details"][0].get("reason")
            for method, path, answer in answers
        }
    assert refused == dict.fromkeys(asked, "UNKNOWN_FIELD")
    own = {"/v1/webhooks", "/v1/operations:mine", "/v1/approvals", "/openapi.json"}
    assert own < {path for _, path in asked}


async def test_the_kind_of_an_event_is_the_name_of_the_method(
    tmp_path: Path, receiver: Receiver
) -> None:
    """As in the summary of the operation, whatever its metadata are."""
    token, entry = new_token("alice")
    (tmp_path / "tokens.toml").write_text(entry.line)
    (tmp_path / "tokens.toml").chmod(0o600)
    async with backend_of() as backend:
        opened = identifying(
            {"tokens": str(tmp_path / "tokens.toml")},
            {"name": "east", "target": backend.target},
            store={"url": Location(tmp_path / "store.sqlite3")},
            deliveries={"allowed_addresses": ["127.0.0.1"], "allow_http": True},
        )
        async with opened as (_, url), bearing(url, token) as client:
            await made(client, receiver.url, mine=True, method="BuildMachine")
            name = (await client.post(BUILD, json=factory.ORDER)).json()["name"]
            (received,) = await receiver.after(1)
            read = (await client.get(f"/v1/{name}?summary=true")).json()
    data = json.loads(received.body)["data"]
    assert (data["kind"], read["summary"]["kind"]) == ("BuildMachine", "BuildMachine")
