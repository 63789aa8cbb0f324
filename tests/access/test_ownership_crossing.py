"""Each verb over each face: for whom an operation exists that somebody has started.

A verb, a method of MCP, a tool or a path without a row fails the first test.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from lro_gateway.access.policy import OF_OPERATIONS, Verb
from lro_gateway.deliveries.signing import new_secret
from lro_gateway.mcp.operation_uris import TEMPLATE
from lro_gateway.records.location import Location
from lro_gateway.serving.app import create_mcp_server
from tests import factory
from tests.access.owned import (
    ALICE,
    NOBODY,
    TENANTS,
    Caller,
    Owned,
    Tokens,
    configured,
    owned,
    stub,
)
from tests.contrary import ContraryBackend
from tests.mcp.wire import RpcError, Wire
from tests.postgresql import PostgreSql

Crossing = Callable[[Caller, str], Awaitable[str]]
"""Makes one call about an operation of a name, and returns all of the answer that may differ."""
MISSING: Final = "lines/1/operations/99999"
"""The name of no operation."""
_VARYING: Final = frozenset({"date", "x-request-id", "content-length"})


def answer_of(response: httpx.Response, text: str) -> str:
    """Return the status, the headers and the body of an answer."""
    headers = {key: value for key, value in response.headers.items() if key not in _VARYING}
    return f"{response.status_code} {headers} {text}"


def over_rest(method: str, path: str, body: Any = None) -> Crossing:
    """Return the crossing of an HTTP request, whose answer is read to its end."""

    async def cross(caller: Caller, name: str) -> str:
        response = await caller.http.request(method, path.format(name=name), json=body)
        return answer_of(response, response.text)

    return cross


def over_stream(path: str) -> Crossing:
    """Return the crossing of a stream of a list, of which the first page is read."""

    async def cross(caller: Caller, _name: str) -> str:
        async with caller.http.stream("GET", path) as response:
            return answer_of(response, await anext(response.aiter_text()))

    return cross


def over_mcp(wire_of: Callable[[Caller], Wire], method: str, **params: Any) -> Crossing:
    """Return the crossing of a method of MCP. Texts of `params` may have `{name}` and `{task}`."""

    async def cross(caller: Caller, name: str) -> str:
        text = json.dumps(params).replace("{name}", name).replace("{task}", caller.task(name))
        try:
            result = await wire_of(caller)(method, **json.loads(text))
        except RpcError as error:
            return f"{error.http_status} {error.code} {error.message} {error.data}"
        return json.dumps(result)

    return cross


def over_listen(**notifications: Any) -> Crossing:
    """Return the crossing of a subscription, with its notifications until it ends."""

    async def cross(caller: Caller, name: str) -> str:
        text = json.dumps(notifications).replace("{name}", name)
        wanted = json.loads(text.replace("{task}", caller.task(name)))
        try:
            stream = caller.modern.stream("subscriptions/listen", notifications=wanted)
            async with stream as messages:
                return json.dumps([each async for each in messages])
        except RpcError as error:
            return f"{error.http_status} {error.code} {error.message} {error.data}"

    return cross


def over_events(wire_of: Callable[[Caller], Wire]) -> Crossing:
    """Return the crossing of a stream of events, of which the first message is read."""

    async def cross(caller: Caller, name: str) -> str:
        try:
            stream = wire_of(caller).stream("events/stream", **_told_of(name))
            async with stream as messages:
                return json.dumps(await anext(messages, None))
        except RpcError as error:
            return f"{error.http_status} {error.code} {error.message} {error.data}"

    return cross


def _told_of(name: str) -> dict[str, Any]:
    return {"name": "operation.done", "arguments": {"operation": name}}


def of_modern(caller: Caller) -> Wire:
    """Return the client of MCP 2026-07-28."""
    return caller.modern


def of_legacy(caller: Caller) -> Wire:
    """Return the client of MCP 2025-11-25."""
    return caller.legacy


def of_tool(tool: str, **arguments: Any) -> dict[str, Crossing]:
    """Return the crossings of a tool in both eras of MCP."""
    params = {"name": tool, "arguments": arguments}
    return {
        f"mcp tool {tool}": over_mcp(of_modern, "tools/call", **params),
        f"legacy tool {tool}": over_mcp(of_legacy, "tools/call", **params),
    }


def of_method(method: str, **params: Any) -> dict[str, Crossing]:
    """Return the crossings of a method in both eras of MCP."""
    return {
        f"mcp {method}": over_mcp(of_modern, method, **params),
        f"legacy {method}": over_mcp(of_legacy, method, **params),
    }


NAMED: Final = {"name": "{name}"}
_HOOK: Final = "https://localhost:1/"
"""The URL of a receiver that no webhook may go to. It is refused after the operation is found."""
_WEBHOOK: Final = {"mode": "webhook", "url": _HOOK, "secret": new_secret()}
URI: Final = "operation://east/{name}"
_REFERENCE: Final = {"type": "ref/resource", "uri": TEMPLATE}
CROSSINGS: Final[dict[Verb, dict[str, Crossing]]] = {
    Verb.GET: {
        **of_tool("get_operation", **NAMED),
        **of_method("resources/read", uri=URI),
        **of_method("tasks/get", taskId="{task}"),
        "legacy tasks/result": over_mcp(of_legacy, "tasks/result", taskId="{task}"),
        "rest get /v1/{name}": over_rest("GET", "/v1/{name}"),
        "rest get full name": over_rest("GET", "/v1///east/{name}"),
        "rest get name in a field": over_rest("GET", "/v1/-?name={name}"),
    },
    Verb.WAIT: {
        **of_tool("wait_operation", **NAMED, timeout="0s"),
        "rest post /v1/{name}:wait": over_rest("POST", "/v1/{name}:wait", {"timeout": "0s"}),
        "rest get /v1/{name}:watch": over_rest("GET", "/v1/{name}:watch"),
        "mcp subscriptions/listen": over_listen(resourceSubscriptions=[URI]),
        "mcp subscriptions/listen to a task": over_listen(taskIds=["{task}"]),
        **of_method("events/poll", **_told_of("{name}")),
        **of_method("events/subscribe", **_told_of("{name}"), delivery=_WEBHOOK),
        "mcp events/stream": over_events(of_modern),
        "legacy events/stream": over_events(of_legacy),
        "rest post /v1/{name}:notify": over_rest("POST", "/v1/{name}:notify", {"url": _HOOK}),
    },
    Verb.CANCEL: {
        **of_tool("cancel_operation", **NAMED),
        **of_method("tasks/cancel", taskId="{task}"),
        "rest post /v1/{name}:cancel": over_rest("POST", "/v1/{name}:cancel"),
    },
    Verb.DELETE: {
        **of_tool("delete_operation", **NAMED),
        "rest delete /v1/{name}": over_rest("DELETE", "/v1/{name}"),
    },
    Verb.LIST: {
        **of_tool("list_operations"),
        **of_method("resources/list"),
        **of_method(
            "completion/complete", ref=_REFERENCE, argument={"name": "name", "value": "lines"}
        ),
        "rest get /v1/operations": over_rest("GET", "/v1/operations"),
        "rest get /v1/{parent}/operations": over_rest("GET", "/v1/lines/1/operations"),
        "rest get /v1/operations:watch": over_stream("/v1/operations:watch"),
        "rest get /v1/{parent}/operations:watch": over_stream("/v1/lines/1/operations:watch"),
    },
}
"""The rows of what reads and changes operations. A list either has a name or not."""
MINE: Final = {
    **of_tool("list_my_operations", tenant=False),
    "rest get /v1/operations:mine": over_rest("GET", "/v1/operations:mine"),
}
OF_TENANT: Final = {
    **of_tool("list_my_operations", tenant=True),
    "rest get /v1/operations:mine": over_rest("GET", "/v1/operations:mine?tenant=true"),
}
"""What a caller, and what its tenant, has started. Its rows are the same for each visibility."""
UNNAMED: Final = frozenset(
    {
        *("initialize", "ping", "server/discover", "logging/setLevel"),
        *("tools/list", "tools/call", "resources/templates/list"),
        *("resources/subscribe", "resources/unsubscribe", "tasks/update"),
        *("events/list", "events/unsubscribe"),
    }
)
"""The methods of MCP that answer nothing of an operation by themselves.

`tools/call` has a row for each tool. Over HTTP there is no session for `resources/subscribe`, and
over stdio it follows what subscriptions/listen follows. tasks/update does not read the operation,
and events/unsubscribe ends only what its caller has made.
"""
WITHOUT_OPERATIONS: Final = frozenset({"search_methods", "describe_method"})
"""The tools that tell of methods only."""
ROWS: Final = {label for row in (*CROSSINGS.values(), MINE) for label in row}


async def test_each_verb_and_face_has_a_row(tmp_path: Path) -> None:
    """A new verb, method of MCP, tool or path fails here until it has one."""
    tokens = Tokens(tmp_path)
    location = Location(tmp_path / "store.sqlite3")
    async with (
        stub().open(factory.SERVICE) as backend,
        owned(configured(backend.target, tokens.file, location, "all"), tokens) as here,
    ):
        listed = (await here[ALICE].modern("tools/list"))["tools"]
        started = await here.gateway.service.catalog.offers(wait_for_all=True)
        paths = (await here[ALICE].http.get("/openapi.json")).json()["paths"]
        methods = create_mcp_server(here.gateway, ()).server._request_handlers  # noqa: SLF001
    tools = {each["name"] for each in listed} - {*started, *WITHOUT_OPERATIONS}
    verbs = {
        f"rest {verb} {path}" for path in paths if is_of_operations(path) for verb in paths[path]
    }
    assert set(CROSSINGS) == OF_OPERATIONS
    assert {f"{era} tool {each}" for era in ("mcp", "legacy") for each in tools} <= ROWS
    assert set(methods) - UNNAMED <= {label.split()[1] for label in ROWS}
    assert verbs <= ROWS


def is_of_operations(path: str) -> bool:
    """Return whether a path of the OpenAPI document is one of operations.

    The health of the work names methods and no operations.
    """
    return path != "/healthz/operations" and ("operations" in path or "{name}" in path)


def expected(visibility: str, who: str) -> bool:
    """Return whether an operation that Alice has started exists for a caller."""
    seeing = {"owner": {ALICE}, "tenant": {ALICE, "amy"}, "all": set(TENANTS)}
    return who in seeing[visibility]


async def unnamed(cross: Crossing, caller: Caller, name: str) -> str:
    """Return the answer about an operation without its name and its task."""
    answer = await cross(caller, name)
    return answer.replace(caller.task(name), "TASK").replace(name, "NAME")


async def exists(cross: Crossing, caller: Caller, verb: Verb, name: str, missing: str) -> bool:
    """Return whether an answer differs from the one for a name that no operation has."""
    if verb is Verb.LIST:
        return name in await cross(caller, name)
    answer = await unnamed(cross, caller, name)
    return answer != missing and "the request has no credentials" not in answer


def asked(backend: ContraryBackend, since: int, name: str) -> list[str]:
    """Return the RPCs that a backend got about an operation."""
    calls = backend.calls[since:]
    return [each.method for each in calls if getattr(each.request, "name", "") == name]


async def wrong(
    here: Owned,
    backend: ContraryBackend,
    visibility: str,
    names: Sequence[str],
    verbs: Collection[Verb] = OF_OPERATIONS,
) -> list[tuple[str, str]]:
    """Return the rows and callers whose answers are not as expected.

    What a caller does not see must cost the calls of the backend that a missing operation costs.
    The first name is that of an operation that has ended. The others are deleted.
    """
    found = []
    ended, *fresh = names
    for verb in verbs:
        for label, cross in CROSSINGS[verb].items():
            since = len(backend.calls)
            missing = await unnamed(cross, here["lone"], MISSING)
            in_vain = asked(backend, since, MISSING)
            for who in (*TENANTS, NOBODY):
                name = fresh.pop() if verb is Verb.DELETE else ended
                since = len(backend.calls)
                is_shown = await exists(cross, here[who], verb, name, missing)
                # A tracker reads the operation at any time, for those who see it.
                is_told = "events/" in label or label.endswith(":notify")
                expected_calls = in_vain if who != NOBODY else []
                is_like_missing = is_told or asked(backend, since, name) == expected_calls
                if is_shown != expected(visibility, who) or not (is_shown or is_like_missing):
                    found.append((label, who))
    for rows, tenants in ((MINE, {ALICE}), (OF_TENANT, {ALICE, "amy"})):
        of_rows = tenants if visibility != "owner" else {ALICE}
        for label, cross in rows.items():
            answers = {who: await cross(here[who], ended) for who in (*TENANTS, NOBODY)}
            found += [
                (label, who) for who in answers if (ended in answers[who]) != (who in of_rows)
            ]
    return found


DELETIONS: Final = len(CROSSINGS[Verb.DELETE]) * (len(TENANTS) + 1)
"""The number of operations that one crossing of all rows deletes, or tries to."""


async def begun(here: Owned) -> list[str]:
    """Start the operations for one crossing of all rows, as Alice."""
    return [await here[ALICE].ended(), *[await here[ALICE].start() for _ in range(DELETIONS)]]


async def test_by_default_what_was_started_exists_for_every_caller(tmp_path: Path) -> None:
    """Only a caller without a token learns nothing."""
    tokens = Tokens(tmp_path)
    async with stub().open(factory.SERVICE) as backend:
        location = Location(tmp_path / "store.sqlite3")
        async with owned(configured(backend.target, tokens.file, location, "all"), tokens) as here:
            assert await wrong(here, backend, "all", await begun(here)) == []


@pytest.mark.parametrize("visibility", ["tenant", "owner"])
async def test_what_another_has_started_does_not_exist(visibility: str, tmp_path: Path) -> None:
    """Before a restart of the gateway and after it."""
    tokens = Tokens(tmp_path)
    location = Location(tmp_path / "store.sqlite3")
    async with stub().open(factory.SERVICE) as backend:
        config = configured(backend.target, tokens.file, location, visibility)
        async with owned(config, tokens) as here:
            assert await wrong(here, backend, visibility, await begun(here)) == []
            names = await begun(here)
        async with owned(config, tokens) as again:
            assert await wrong(again, backend, visibility, names) == []


@pytest.mark.parametrize("visibility", ["tenant", "owner"])
async def test_it_does_not_exist_on_another_replica(
    visibility: str, server: PostgreSql, tmp_path: Path
) -> None:
    """Although this replica has started nothing."""
    tokens = Tokens(tmp_path)
    url = server.create_database()
    async with stub().open(factory.SERVICE) as backend:
        config = configured(backend.target, tokens.file, url, visibility)
        async with owned(config, tokens) as one, owned(config, tokens) as other:
            assert await wrong(other, backend, visibility, await begun(one)) == []


@pytest.mark.usefixtures("_nothing_is_recent")
@pytest.mark.parametrize("visibility", ["tenant", "owner"])
async def test_it_does_not_exist_in_the_archive(visibility: str, tmp_path: Path) -> None:
    """After the backend has forgotten it. A list is the backend's own, and has nothing more."""
    tokens = Tokens(tmp_path)
    location = Location(tmp_path / "store.sqlite3")
    forgetful = stub()
    async with forgetful.open(factory.SERVICE) as backend:
        config = configured(backend.target, tokens.file, location, visibility)
        async with owned(config, tokens) as here:
            names = [await here[ALICE].ended() for _ in range(DELETIONS + 1)]
            for name in names:
                await here[ALICE].http.get(f"/v1/{name}")
        forgetful.operations.clear()
        async with owned(config, tokens) as again:
            kept = await again[ALICE].http.get(f"/v1/{names[0]}")
            verbs = OF_OPERATIONS - {Verb.LIST}
            assert await wrong(again, backend, visibility, names, verbs) == []
    assert "lro-gateway-archived" in kept.headers
