"""Each verb over each face: what is refused, with which status and which text.

A verb or a face without a row fails the first test.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from lro_gateway.access.policy import CHANGES, OF_OPERATIONS, READS, Verb
from lro_gateway.mcp.operation_uris import TEMPLATE
from lro_gateway.principal import Principal
from lro_gateway.records.location import NOWHERE, Location
from tests import factory
from tests.access.policed import mcp, policed, rest
from tests.access.test_policy_faces import HANDLERS, METHODS, POOL
from tests.contrary import ContraryBackend

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
    },
    Verb.WAIT: {
        **of_verb("wait_operation", NAMED, ("POST", f"/v1/{NAME}:wait"), "/v1/{name}:wait"),
        "sse": over_rest("GET", f"/v1/{NAME}:watch"),
    },
    Verb.CANCEL: of_verb(
        "cancel_operation", NAMED, ("POST", f"/v1/{NAME}:cancel"), "/v1/{name}:cancel"
    ),
    Verb.DELETE: of_verb("delete_operation", NAMED, ("DELETE", f"/v1/{NAME}"), "/v1/{name}"),
    Verb.START: of_verb(
        "build_machine",
        factory.ORDER,
        ("POST", "/v1/machines:build", dict(factory.ORDER)),
        "/v1/machines:build",
    ),
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
EMPTY_LISTS: Final = {"resources", "completion"}
"""The faces that list the operations of all parents."""
FACES: Final = {"mcp 2026-07-28", "mcp legacy", "rest", "tools", "openapi"}
"""The faces that every verb of operations and of methods has."""


def test_each_verb_has_a_row_for_each_face() -> None:
    """A new verb, or a face that a row lacks, fails here."""
    assert set(CROSSINGS) == set(Verb)
    for verb, row in CROSSINGS.items():
        assert verb in _WITHOUT_TOOLS or row.keys() >= FACES


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
