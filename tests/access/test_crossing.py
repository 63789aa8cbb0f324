"""Each verb over each face: what is refused, with which status and which text.

A verb or a face without a row fails the first test.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from lro_gateway.access.policy import CHANGES, OF_OPERATIONS, READS, Verb
from lro_gateway.commands.terminal.failures import RefusedError
from lro_gateway.commands.terminal.gateway_client import GatewayClient, Listing
from lro_gateway.mcp.operation_uris import TEMPLATE
from lro_gateway.principal import Principal
from lro_gateway.records.location import NOWHERE, Location
from tests import factory
from tests.access.policed import claims, mcp, policed, rest
from tests.access.test_policy_faces import HANDLERS, METHODS, POOL
from tests.contrary import ContraryBackend
from tests.mcp.wire import RpcError, Wire

NAME: Final = "jobs/operations/1"
OWNER: Final = Principal("alice", "https://id", "data")
READER: Final = Principal("reader", "https://id", "data-readers")
SCOPELESS: Final = Principal("scopeless", "https://id", "scoped")
ASKER: Final = Principal("asker", "https://id", "data")
STRANGER: Final = Principal("mallory", "https://id", "web")
CALLERS: Final = {
    "allowed": OWNER,
    "read-only": READER,
    "missing scope": SCOPELESS,
    "other tenant": STRANGER,
}
RULES: list[dict[str, Any]] = [
    {"allow": ["*"], "tenants": ["data"]},
    {"allow": ["*"], "tenants": ["data-readers"], "read_only": True},
    {"allow": ["*"], "tenants": ["scoped"], "scopes": ["lro.all", "openid"]},
    {"allow": ["*"], "tenants": ["web"], "names": ["web/**"], "methods": ["*/Nothing"]},
]
Outcome = str
"""`ok`, the reason of an error, `hidden` for what does not exist, or `not listed`."""
Crossing = Callable[[str, Principal], Awaitable[Outcome]]
"""Makes one call of a face as a caller, and returns the outcome."""
_HIDDEN: Final = frozenset(
    {"NO_SUCH_OPERATION", "NO_SUCH_PARENT", "UNKNOWN_PATH", "UNKNOWN_METHOD", "NO_EXPLANATION"}
)
_STATUSES: Final = {"POLICY_DENIED": 403, "INSUFFICIENT_SCOPE": 403}


def named(reason: str) -> Outcome:
    """Return the outcome of an error of the gateway."""
    return "hidden" if reason in _HIDDEN else reason


def of_mcp(error: MCPError) -> Outcome:
    """Return the outcome of a JSON-RPC error."""
    message = error.error.message
    if message == "Resource not found" or message.startswith("there is no tool"):
        return "hidden"
    if message.startswith("NOT_FOUND: there are no operations"):
        return "hidden"
    lacks = "your credentials lack a scope that you need to"
    has_scopes = message.endswith(": lro.all openid")
    return "INSUFFICIENT_SCOPE" if lacks in message and has_scopes else message


def over_rest(method: str, path: str, body: Any = None) -> Crossing:
    """Return the crossing of an HTTP request. The status and the reason belong together."""

    async def cross(url: str, caller: Principal) -> Outcome:
        async with rest(url, caller) as client:
            answer = await client.request(method, path, json=body)
        if answer.status_code == 200:
            return "ok"
        error = answer.json()["error"]
        outcome = named(error["details"][0]["reason"])
        assert answer.status_code == _STATUSES.get(outcome, 404), answer.text
        return outcome

    return cross


def over_mcp(mode: str, tool: str, arguments: Mapping[str, Any]) -> Crossing:
    """Return the crossing of a call of a tool. A missing scope may be the HTTP status 403."""

    async def cross(url: str, caller: Principal) -> Outcome:
        async with mcp(url, caller, mode) as client:
            try:
                result = await client.call_tool(tool, dict(arguments))
            except MCPError as error:
                return of_mcp(error)
        if not result.is_error:
            return "ok"
        status = json.loads(result.content[0].text)  # type: ignore[union-attr]  # it is a text
        return named(status["details"][0]["reason"])

    return cross


def over_resources(mode: str) -> Crossing:
    """Return the crossing of a read of an operation as a resource."""

    async def cross(url: str, caller: Principal) -> Outcome:
        async with mcp(url, caller, mode) as client:
            try:
                await client.read_resource(f"operation://east/{NAME}")
            except MCPError as error:
                return of_mcp(error)
        return "ok"

    return cross


async def over_resource_lists(url: str, caller: Principal) -> Outcome:
    """Cross resources/list and the completion of names. Both show the same operations."""
    async with mcp(url, caller) as client:
        try:
            resources = await client.list_resources()
        except MCPError as error:
            return of_mcp(error)
    return "ok" if resources.resources else "hidden"


async def over_completion(url: str, caller: Principal) -> Outcome:
    """Cross the completion of an operation's name."""
    async with mcp(url, caller) as client:
        reference = types.ResourceTemplateReference(uri=TEMPLATE)
        try:
            found = await client.complete(reference, {"name": "name", "value": ""})
        except MCPError as error:
            return of_mcp(error)
    return "ok" if found.completion.values else "hidden"


async def over_approvals(url: str, caller: Principal) -> Outcome:
    """Cross the approval of a call that somebody else has asked for."""
    async with rest(url, ASKER) as client:
        asked = await client.post("/v1/machines:build", json=dict(factory.ORDER))
    return await over_rest("POST", f"/v1/{asked.json()['name']}:approve")(url, caller)


def as_task(version: str, tool: str, arguments: Mapping[str, Any]) -> Crossing:
    """Return the crossing of a call of a tool by a client that follows tasks."""

    async def cross(url: str, caller: Principal) -> Outcome:
        more: dict[str, Any] = {"task": {}} if version == "2025-11-25" else {}
        async with rest(url, caller) as http:
            wire = Wire(http, "/mcp", version)
            try:
                result = await wire("tools/call", name=tool, arguments=dict(arguments), **more)
                if (task := result.get("task")) is not None:
                    result = await wire("tasks/result", taskId=task["taskId"])
            except RpcError as error:
                return of_rpc(error)
        if not result.get("isError"):
            return "ok"
        status = json.loads(result["content"][0]["text"])
        return named(status["details"][0]["reason"])

    return cross


def of_rpc(error: RpcError) -> Outcome:
    """Return the outcome of a JSON-RPC error, whose HTTP status is 403 if a scope is missing."""
    lacks = "your credentials lack a scope that you need to"
    if lacks in error.message and error.message.endswith(": lro.all openid"):
        return "INSUFFICIENT_SCOPE"
    hides = ("there is no tool", "does not run as a task", "there is no operation")
    return "hidden" if any(each in error.message for each in hides) else error.message


def at_terminal(call: Callable[[GatewayClient], Awaitable[object]]) -> Crossing:
    """Return the crossing of a command, by the client that the commands have."""

    async def cross(url: str, caller: Principal) -> Outcome:
        async with httpx2.AsyncClient(base_url=url, headers=claims(caller), timeout=60) as http:
            client = GatewayClient(http, where=url, cure="", agree=lambda _: True)
            try:
                found = await call(client)
            except RefusedError as error:
                return named(error.reason)
        return "hidden" if isinstance(found, Listing) and not found.operations else "ok"

    return cross


async def followed(client: GatewayClient) -> object:
    """Follow an operation, as `operations wait` and `tail` do."""
    return [each async for each in client.follow(NAME)]


async def over_page(url: str, caller: Principal) -> Outcome:
    """Cross the list that the page reads, which has summaries."""
    async with rest(url, caller) as client:
        answer = await client.get("/v1/operations?summary=true")
    if answer.status_code == 200:
        return "ok" if answer.json()["operations"] else "hidden"
    return named(answer.json()["error"]["details"][0]["reason"])


def in_tools(tool: str) -> Crossing:
    """Return the crossing of tools/list."""

    async def cross(url: str, caller: Principal) -> Outcome:
        async with mcp(url, caller) as client:
            tools = await client.list_tools()
        return "ok" if tool in {each.name for each in tools.tools} else "not listed"

    return cross


def in_openapi(path: str, method: str) -> Crossing:
    """Return the crossing of the OpenAPI document, from which the page of the documentation is."""

    async def cross(url: str, caller: Principal) -> Outcome:
        async with rest(url, caller) as client:
            paths = (await client.get("/openapi.json")).json()["paths"]
        return "ok" if method in paths.get(path, {}) else "not listed"

    return cross


def of_verb(tool: str, arguments: Mapping[str, Any], http: Any, path: str) -> dict[str, Crossing]:
    """Return the crossings of a verb over the faces that have it."""
    return {
        "mcp 2026-07-28": over_mcp("2026-07-28", tool, arguments),
        "mcp legacy": over_mcp("legacy", tool, arguments),
        "rest": over_rest(*http),
        "tools": in_tools(tool),
        "openapi": in_openapi(path, http[0].lower()),
    }


NAMED: Final = {"name": NAME}
CROSSINGS: dict[Verb, dict[str, Crossing]] = {
    Verb.GET: {
        **of_verb("get_operation", NAMED, ("GET", f"/v1/{NAME}"), "/v1/{name}"),
        "resources 2026-07-28": over_resources("2026-07-28"),
        "resources legacy": over_resources("legacy"),
        "command line": at_terminal(lambda client: client.get(NAME)),
    },
    Verb.LIST: {
        **of_verb(
            "list_operations",
            {"name": "jobs"},
            ("GET", "/v1/jobs/operations"),
            "/v1/{parent}/operations",
        ),
        "resources": over_resource_lists,
        "completion": over_completion,
        "page": over_page,
        "command line": at_terminal(lambda client: client.list(limit=10)),
    },
    Verb.WAIT: {
        **of_verb("wait_operation", NAMED, ("POST", f"/v1/{NAME}:wait"), "/v1/{name}:wait"),
        "sse": over_rest("GET", f"/v1/{NAME}:watch"),
        "tasks 2026-07-28": as_task("2026-07-28", "wait_operation", NAMED),
        "tasks 2025-11-25": as_task("2025-11-25", "wait_operation", NAMED),
        "command line": at_terminal(followed),
    },
    Verb.CANCEL: {
        **of_verb("cancel_operation", NAMED, ("POST", f"/v1/{NAME}:cancel"), "/v1/{name}:cancel"),
        "command line": at_terminal(lambda client: client.cancel(NAME)),
    },
    Verb.DELETE: {
        **of_verb("delete_operation", NAMED, ("DELETE", f"/v1/{NAME}"), "/v1/{name}"),
        "command line": at_terminal(lambda client: client.delete(NAME)),
    },
    Verb.START: {
        **of_verb(
            "build_machine",
            factory.ORDER,
            ("POST", "/v1/machines:build", dict(factory.ORDER)),
            "/v1/machines:build",
        ),
        "tasks 2026-07-28": as_task("2026-07-28", "build_machine", factory.ORDER),
        "tasks 2025-11-25": as_task("2025-11-25", "build_machine", factory.ORDER),
    },
    Verb.CALL: of_verb(
        "get_machine",
        {"name": "lines/1/machines/2"},
        ("GET", "/v1/lines/1/machines/2"),
        "/v1/lines/{linesId}/machines/{machinesId}",
    ),
    Verb.APPROVE: {
        "rest": over_approvals,
        "openapi": in_openapi("/v1/approvals/{approval}:approve", "post"),
    },
    Verb.EXPLAIN: {
        "rest": over_rest("POST", "/v1:explain", {"verb": "get", "target": NAME}),
        "openapi": in_openapi("/v1:explain", "post"),
    },
}

_WITHOUT_TOOLS: Final = {Verb.EXPLAIN, Verb.APPROVE}
EMPTY_LISTS: Final = {"resources", "completion", "page", "command line"}
"""The faces that list the operations of all parents."""
FACES: Final = {"mcp 2026-07-28", "mcp legacy", "rest", "tools", "openapi"}
"""The faces that every verb of operations and of methods has."""
MORE_FACES: Final[Mapping[Verb, frozenset[str]]] = {
    **dict.fromkeys(OF_OPERATIONS, frozenset({"command line"})),
    Verb.START: frozenset({"tasks 2026-07-28", "tasks 2025-11-25"}),
}
"""The other faces that a verb must have."""


def test_each_verb_has_a_row_for_each_face() -> None:
    """A new verb, or a face that a row lacks, fails here."""
    assert set(CROSSINGS) == set(Verb)
    for verb, row in CROSSINGS.items():
        assert verb in _WITHOUT_TOOLS or row.keys() >= FACES
        assert row.keys() >= MORE_FACES.get(verb, frozenset())


def expected(verb: Verb, face: str, who: str) -> Outcome:
    """Return what a caller gets. Lists show only what a caller may use."""
    reads = verb in READS or verb in {Verb.CALL, Verb.EXPLAIN}
    if who == "allowed" or (who == "read-only" and reads):
        return "ok"
    if face == "openapi" and verb is Verb.APPROVE:
        # One path is for the calls of all methods, and the others may approve some.
        return "not listed" if who == "missing scope" else "ok"
    if face in {"tools", "openapi"}:
        # The other tenant has operations of its own.
        return "ok" if who == "other tenant" and verb in OF_OPERATIONS else "not listed"
    if who == "missing scope":
        return "INSUFFICIENT_SCOPE"
    if who == "read-only" and verb in CHANGES:
        return "POLICY_DENIED"
    return "hidden"


@asynccontextmanager
async def served(verb: Verb, store: Location) -> AsyncIterator[tuple[str, ContraryBackend]]:
    """Serve one backend under the rules. Its starts need an approval if the verb is to approve."""
    async with ContraryBackend.open(
        HANDLERS, methods=METHODS, pool=POOL, reflection_versions=("v1",)
    ) as backend:
        needed = ["*/BuildMachine"] if verb is Verb.APPROVE else []
        settings = {
            "name": "east",
            "target": backend.target,
            "methods": ["*/GetMachine"],
            "approval": needed,
        }
        async with policed(RULES, settings, store=store if needed else NOWHERE) as url:
            yield url, backend


@pytest.mark.parametrize("verb", Verb)
async def test_each_crossing_refuses_whom_the_policy_refuses(verb: Verb, tmp_path: Path) -> None:
    """With the status and the text of its face. A refused call never reaches the backend."""
    async with served(verb, Location(tmp_path / "store.sqlite3")) as (url, backend):
        async with rest(url, OWNER) as client:
            await client.get("/openapi.json")  # The methods are then known.
        wrong = []
        for face, cross in CROSSINGS[verb].items():
            for who, caller in CALLERS.items():
                before = len(backend.answered)
                outcome = await cross(url, caller)
                asked = len(backend.answered) - before
                refused = outcome not in {"ok", "not listed"}
                # A list of everything asks the backend, and shows only what the caller may see.
                asked = 0 if face in EMPTY_LISTS and who == "other tenant" else asked
                if outcome != expected(verb, face, who) or (refused and asked):
                    wrong.append((face, who, outcome, asked))
    assert wrong == []


async def test_what_is_hidden_and_what_is_missing_have_one_answer() -> None:
    """Status, headers and body are the same, and no backend is asked for either."""
    varying = {"date", "x-request-id", "content-length"}
    missing = "jobs/operations/none"
    requests = (("GET", ""), ("POST", ":wait"), ("GET", ":watch"), ("POST", ":cancel"))
    async with served(Verb.GET, NOWHERE) as (url, backend), rest(url, STRANGER) as client:
        await client.get("/openapi.json")
        asked = len(backend.answered)
        for method, verb in (*requests, ("DELETE", "")):
            answers = []
            for name in (NAME, missing):
                answer = await client.request(method, f"/v1/{name}{verb}")
                headers = {key: each for key, each in answer.headers.items() if key not in varying}
                answers.append((answer.status_code, headers, answer.text.replace(name, "NAME")))
            assert answers[0] == answers[1]
            assert answers[0][0] == 404
        assert len(backend.answered) == asked
