"""The policy gets the canonical form of every name, and the caller of the request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from mcp import Client
from mcp.shared.exceptions import MCPError

from lro_gateway.access.policy import (
    Action,
    ListAction,
    MethodAction,
    OperationAction,
    Verb,
)
from lro_gateway.operations.names import GatewayName
from lro_gateway.principal import Principal
from tests import factory
from tests.access.guarded import ALICE, BOB, Recording, guarded, mcp, rest
from tests.contrary import ContraryBackend, Handler, acknowledging, answering

NAMES = ("main/1", "main/2")
ONE = operations_pb2.Operation(name="main/1", done=True)
CANONICAL = GatewayName("team/main/ops/1")
HANDLERS: dict[str, Handler] = {
    "GetOperation": answering(ONE),
    "ListOperations": answering(
        operations_pb2.ListOperationsResponse(
            operations=[operations_pb2.Operation(name=name, done=True) for name in NAMES]
        )
    ),
    "CancelOperation": acknowledging(),
    "DeleteOperation": acknowledging(),
}
METHODS: dict[str, Handler] = {
    f"{factory.SERVICE}/BuildMachine": answering(operations_pb2.Operation(name="main/3")),
    f"{factory.SERVICE}/GetMachine": answering(factory.message("Machine", title="t")),
}


@asynccontextmanager
async def served(policy: Recording) -> AsyncIterator[tuple[str, ContraryBackend]]:
    """Serve one backend whose names have a different form at the gateway."""
    async with ContraryBackend.open(
        HANDLERS, methods=METHODS, pool=factory.pool(), reflection_versions=("v1",)
    ) as backend:
        settings = {
            "name": "demo",
            "target": backend.target,
            "operations": {"{instance}/{id}": "team/{instance}/ops/{id}"},
            "methods": ["*"],
        }
        async with guarded(policy, settings) as url:
            yield url, backend


SPELLINGS = ("team/main/ops/1", "//demo/main/1")
MOVES: dict[str, tuple[str, str]] = {
    "get": ("GET", ""),
    "wait": ("POST", ":wait"),
    "cancel": ("POST", ":cancel"),
    "delete": ("DELETE", ""),
    "watch": ("GET", ":watch"),
}


def is_one(_caller: Principal, action: Action) -> bool:
    """Return whether an action is on the first operation, by its canonical name."""
    return isinstance(action, OperationAction) and action.name == CANONICAL


@pytest.mark.parametrize("spelling", [*SPELLINGS, "main/1?backend=demo"])
@pytest.mark.parametrize("move", MOVES)
async def test_no_spelling_of_a_name_avoids_a_rule_over_rest(move: str, spelling: str) -> None:
    """The backend gets no call that the policy refuses."""
    method, suffix = MOVES[move]
    name, _, query = spelling.partition("?")
    async with served(policy := Recording(refuses=is_one)) as (url, backend), rest(url) as client:
        response = await client.request(method, f"/v1/{name}{suffix}?{query}")
        assert response.status_code == 403
        assert backend.answered == []
    verb = Verb.WAIT if move == "watch" else Verb(move)
    assert policy.actions == [(ALICE, OperationAction(verb, "demo", CANONICAL))]


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
@pytest.mark.parametrize(
    "arguments", [*({"name": each} for each in SPELLINGS), {"name": "main/1", "backend": "demo"}]
)
@pytest.mark.parametrize("verb", ["get", "wait", "cancel", "delete"])
async def test_no_spelling_of_a_name_avoids_a_rule_over_mcp(
    verb: str, arguments: dict[str, Any], mode: str
) -> None:
    """The backend gets no call that the policy refuses."""
    async with (
        served(policy := Recording(refuses=is_one)) as (url, backend),
        mcp(url, mode=mode) as client,
    ):
        result = await client.call_tool(f"{verb}_operation", arguments)
        assert result.is_error
        assert backend.answered == []
    assert policy.actions == [(ALICE, OperationAction(Verb(verb), "demo", CANONICAL))]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/team/main/ops/operations",
        "/v1/operations?name=team/main/ops",
        "/v1///demo/main/operations",
        "/v1/operations?name=//demo/main/operations",
    ],
)
async def test_no_spelling_of_a_parent_avoids_a_rule(path: str) -> None:
    """A list and a watch of a list have one canonical parent."""

    def of_main(_caller: Principal, action: Action) -> bool:
        return action == ListAction("demo", GatewayName("team/main/ops"))

    async with served(Recording(refuses=of_main)) as (url, backend), rest(url) as client:
        for each in (path, re.sub(r"operations(\?|$)", r"operations:watch\1", path, count=1)):
            assert (await client.get(each)).status_code == 403
        assert backend.count("ListOperations") == 0


@pytest.mark.parametrize("list_name", ["parent", "collection"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/databases/x/operations",
        "/v1/databases/x/operations/operations",
        "/v1/databases/x/operations/operations/operations",
        "/v1/operations?name=databases/x/operations/operations",
    ],
)
async def test_a_parent_and_its_collection_are_one_parent(path: str, list_name: str) -> None:
    """The backend cannot get a list that a rule on the parent refuses."""
    async with ContraryBackend.open(HANDLERS) as backend:
        settings = {"name": "demo", "target": backend.target, "list_name": list_name}
        async with guarded(policy := Recording(), settings) as url, rest(url) as client:
            assert (await client.get(path)).status_code == 200
        (call,) = backend.answered
    assert policy.actions == [(ALICE, ListAction("demo", GatewayName("databases/x")))]
    collection = "databases/x/operations"
    assert call.request.name == (collection if list_name == "collection" else "databases/x")


async def test_a_list_of_all_backends_leaves_out_those_that_the_caller_may_not_list() -> None:
    """The caller gets the other operations, and a refusal only if no backend is left."""

    def is_west(_caller: Principal, action: Action) -> bool:
        return isinstance(action, ListAction) and action.backend == "west"

    async with ContraryBackend.open(HANDLERS) as east, ContraryBackend.open(HANDLERS) as west:
        backends = (
            {"name": "east", "target": east.target},
            {"name": "west", "target": west.target},
        )
        async with guarded(Recording(refuses=is_west), *backends) as url, rest(url) as client:
            page = (await client.get("/v1/operations")).json()
            refused = await client.get("/v1/operations?backend=west")
        assert west.count("ListOperations") == 0
    assert {each["name"] for each in page["operations"]} == {"//east/main/1", "//east/main/2"}
    assert "unreachable" not in page
    assert refused.status_code == 403


@dataclass
class Faulty(Recording):
    """A policy with a fault in what it shows."""

    async def offered(
        self, caller: Principal, offers: Mapping[str, Any], /, *, challenged: bool = False
    ) -> Mapping[str, Any]:
        raise ZeroDivisionError(caller, len(offers), challenged, "a detail of the fault")


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_fault_in_a_list_of_tools_is_internal_and_has_no_detail(mode: str) -> None:
    """Whatever the revision of the protocol."""
    async with served(Faulty()) as (url, _), mcp(url, mode=mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.list_tools()
    assert (caught.value.error.code, caught.value.error.message) == (
        types.INTERNAL_ERROR,
        "the gateway failed; its log has the reason",
    )


async def test_the_policy_sees_the_default_parent_if_a_list_has_none() -> None:
    """A rule on the default parent applies to a caller that leaves the parent out."""
    async with ContraryBackend.open(HANDLERS) as backend:
        settings = {"name": "demo", "target": backend.target, "default_parent": "projects/-"}
        async with guarded(policy := Recording(), settings) as url, rest(url) as client:
            await client.get("/v1/operations")
    assert policy.actions == [(ALICE, ListAction("demo", GatewayName("projects/-")))]


@pytest.mark.parametrize(
    "body",
    [
        {"parent": "lines/1", "validateOnly": True, "machine": {"title": "t"}},
        {"parent": "lines/1", "validate_only": True, "machine": {"title": "t", "notes": {}}},
    ],
)
async def test_the_policy_sees_the_parsed_request_of_a_start(body: dict[str, Any]) -> None:
    """The spelling of the arguments makes no difference. The backend gets no refused start."""

    def is_build(_caller: Principal, action: Action) -> bool:
        return isinstance(action, MethodAction) and action.method.name == "BuildMachine"

    async with served(policy := Recording(refuses=is_build)) as (url, backend):
        async with rest(url) as client:
            assert (await client.post("/v1/machines:build", json=body)).status_code == 403
        async with mcp(url) as agent:
            assert (await agent.call_tool("build_machine", body)).is_error
        assert backend.count("BuildMachine") == 0
    for caller, action in policy.actions:
        assert isinstance(action, MethodAction)
        request: Any = action.request
        shown = (caller, action.verb, action.backend, action.method.name)
        assert shown == (ALICE, Verb.START, "demo", "BuildMachine")
        assert (request.parent, request.validate_only, request.machine.title) == (
            "lines/1",
            True,
            "t",
        )
    assert len(policy.actions) == 2


async def test_a_plain_call_is_an_action_of_its_own() -> None:
    """A rule can allow plain methods and refuse long-running ones."""
    async with served(policy := Recording()) as (url, _), rest(url) as client:
        assert (await client.get("/v1/lines/1/machines/2")).json() == {"title": "t"}
    ((_, action),) = policy.actions
    assert isinstance(action, MethodAction)
    assert (action.verb, action.method.name) == (Verb.CALL, "GetMachine")


def hidden_from_bob(caller: Principal, name: str) -> bool:
    """Hide the second operation and one method from Bob."""
    return caller == BOB and name in {"team/main/ops/2", "build_machine"}


async def listed_over_rest(url: str, caller: Principal) -> list[str]:
    """Return the names in a list."""
    async with rest(url, caller) as client:
        page = (await client.get("/v1/operations")).json()
    return [each["name"] for each in page["operations"]]


async def watched_over_rest(url: str, caller: Principal) -> list[str]:
    """Return the names in the first events of a watched list."""
    async with rest(url, caller) as client, client.stream("GET", "/v1/operations:watch") as stream:
        text = ""
        async for chunk in stream.aiter_text():
            text += chunk
            if text.count("\n\n"):
                return re.findall(r'"name":"([^"]*)"', text)
    raise AssertionError(text)


async def resources(url: str, caller: Principal) -> list[str]:
    """Return the names of the resources."""
    async with mcp(url, caller) as client:
        return [each.name for each in (await client.list_resources()).resources]


async def completed(url: str, caller: Principal) -> list[str]:
    """Return the completions of the name prefix `team`."""
    reference = types.ResourceTemplateReference(uri="operation://{backend}/{+name}")
    async with mcp(url, caller) as client:
        found = await client.complete(
            reference, {"name": "name", "value": "team"}, {"backend": "demo"}
        )
        return list(found.completion.values)


@pytest.mark.parametrize("see", [listed_over_rest, watched_over_rest, resources, completed])
async def test_a_list_has_only_operations_that_its_caller_may_see(
    see: Callable[[str, Principal], Awaitable[list[str]]],
) -> None:
    """Lists, watches of lists, resources and completions are filtered in the same way."""
    async with served(Recording(hides=hidden_from_bob)) as (url, _):
        assert await see(url, ALICE) == ["team/main/ops/1", "team/main/ops/2"]
        assert await see(url, BOB) == ["team/main/ops/1"]
        assert await see(url, ALICE) == ["team/main/ops/1", "team/main/ops/2"]


async def tools(client: Client) -> tuple[set[str], str | None]:
    """Return the names of the tools, and the cache scope of the answer."""
    result = await client.list_tools()
    return {tool.name for tool in result.tools}, result.cache_scope


async def test_each_caller_sees_only_methods_that_it_may_see() -> None:
    """This holds for tools/list and for the OpenAPI document. Shared caches may not keep them."""
    async with served(Recording(hides=hidden_from_bob)) as (url, _):
        for caller, sees in ((ALICE, True), (BOB, False), (ALICE, True)):
            async with mcp(url, caller) as client:
                names, scope = await tools(client)
            assert ("build_machine" in names, scope) == (sees, "private")
            async with rest(url, caller) as http:
                paths = (await http.get("/openapi.json")).json()["paths"]
            assert ("/v1/machines:build" in paths) is sees


async def test_a_hidden_method_does_not_exist_for_its_caller() -> None:
    """The error is the same as for a tool or a route that no backend offers."""
    async with served(Recording(hides=hidden_from_bob)) as (url, backend):
        async with mcp(url, BOB) as agent:
            for name in ("build_machine", "no_such_tool"):
                with pytest.raises(MCPError, match=f"there is no tool '{name}'"):
                    await agent.call_tool(name, {})
        async with rest(url, BOB) as client:
            statuses = [
                (await client.post(path, json={})).status_code
                for path in ("/v1/machines:build", "/v1/machines:unknown")
            ]
    assert statuses == [404, 404]
    assert backend.count("BuildMachine") == 0
