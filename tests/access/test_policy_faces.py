"""What a caller may not use does not exist for this caller, on any face and in any text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.longrunning import operations_pb2
from mcp.shared.exceptions import MCPError

from lro_gateway.principal import Principal
from tests import factory
from tests.access.policed import mcp, policed, rest
from tests.contrary import ContraryBackend, Handler, acknowledging, answering

POOL = factory.pool()
ROOT = Principal("root", "https://id", "ops")
BOB = Principal("bob", "https://id", "web")
NAMES = ("jobs/1", "secrets/2")
HANDLERS: dict[str, Handler] = {
    "GetOperation": answering(operations_pb2.Operation(name="jobs/1", done=True)),
    "ListOperations": answering(
        operations_pb2.ListOperationsResponse(
            operations=[operations_pb2.Operation(name=name, done=True) for name in NAMES]
        )
    ),
    "CancelOperation": acknowledging(),
    "DeleteOperation": acknowledging(),
}
METHODS: dict[str, Handler] = {
    f"{factory.SERVICE}/BuildMachine": answering(operations_pb2.Operation(name="jobs/3")),
    f"{factory.SERVICE}/GetMachine": answering(factory.message("Machine", title="t")),
}
RULES: list[dict[str, Any]] = [
    {"allow": ["*"], "tenants": ["ops"]},
    {"allow": ["get", "list", "wait"], "backends": ["north"], "names": ["jobs/**"]},
    {"allow": ["call"], "backends": ["north"], "methods": ["*/GetMachine"]},
]
HIDDEN = ("south", "secrets", "build_machine", "BuildMachine", "machines:build")
"""Texts that no answer to Bob may have."""


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, ContraryBackend, ContraryBackend]]:
    """Serve two backends with the same methods, of which Bob may use a part of the first."""
    async with (
        ContraryBackend.open(
            HANDLERS, methods=METHODS, pool=POOL, reflection_versions=("v1",)
        ) as north,
        ContraryBackend.open(
            HANDLERS, methods=METHODS, pool=POOL, reflection_versions=("v1",)
        ) as south,
    ):
        backends = [
            {"name": "north", "target": north.target, "methods": ["*/GetMachine"]},
            {"name": "south", "target": south.target, "methods": ["*/GetMachine"]},
        ]
        async with policed(RULES, *backends) as url:
            yield url, north, south


def hides(text: str) -> None:
    """Check that a text tells nothing of what Bob may not use."""
    assert [each for each in HIDDEN if each in text] == []


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_an_agent_sees_only_what_it_may_use(mode: str) -> None:
    """In each list, and in each error that lists choices, whoever came before."""
    async with served() as (url, _, _):
        async with mcp(url, ROOT, mode) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert {"build_machine", "cancel_operation", "get_machine"} <= tools
            shown = (await client.list_tools()).model_dump_json()
            assert "south" in shown
            resources = (await client.list_resources()).resources
            assert len(resources) == 4
        async with mcp(url, BOB, mode) as client:
            listed = await client.list_tools()
            hides(listed.model_dump_json())
            assert {tool.name for tool in listed.tools} == {
                *("get_operation", "list_operations", "wait_operation", "get_machine"),
            }
            (get_machine,) = (tool for tool in listed.tools if tool.name == "get_machine")
            assert "backend" not in get_machine.input_schema["properties"]
            (resource,) = (await client.list_resources()).resources
            assert resource.name == "//north/jobs/1"
            page = await client.call_tool("list_operations", {})
            hides(page.model_dump_json())
            for arguments in ({"query": "machine"}, {"query": "", "backend": "no"}):
                found = await client.call_tool("search_methods", arguments)
                hides(found.model_dump_json())
            for name in ("build_machine", "get_machines", "factory_build_machine"):
                missing = await client.call_tool("describe_method", {"name": name})
                hides(missing.model_dump_json().replace(name, ""))


async def test_a_rest_client_sees_only_what_it_may_use() -> None:
    """In the OpenAPI document, in lists, and in errors that list choices."""
    paths = [
        "/openapi.json",
        "/v1/operations",
        "/v1/operations?backend=no",
        "/v1///no/jobs/1",
        "/v1/jobs/1",
        "/v1/lines/1/machines/2?backend=no",
        "/v1/lines/1/machines/2",
        "/v1/operation",
        "/openapi.json?package=no",
    ]
    async with served() as (url, _, _):
        async with rest(url, ROOT) as client:
            document = (await client.get("/openapi.json")).json()
            assert "/v1/machines:build" in document["paths"]
            assert "/v1/{name}:cancel" in document["paths"]
        async with rest(url, BOB) as client:
            for path in paths:
                hides((await client.get(path)).text)
            document = (await client.get("/openapi.json")).json()
            assert "/v1/{name}:cancel" not in document["paths"]
            assert set(document["paths"]["/v1/{name}"]) == {"get"}
            refused = await client.put("/v1/jobs/operations/1", json={})
            assert refused.headers["allow"] == "GET, HEAD"


PAIRS = {
    "a hidden backend": ("/v1///south/jobs/1", "/v1///none/jobs/1"),
    "a hidden backend in the query": ("/v1/jobs/1?backend=south", "/v1/jobs/1?backend=none"),
    "operations of a hidden backend": (
        "/v1/operations?backend=south",
        "/v1/operations?backend=none",
    ),
    "a hidden name": ("/v1///north/secrets/2", "/v1///north/secrets/9"),
    "a hidden list": ("/v1///north/secrets/operations", "/v1///north/nothing/operations"),
    "a stream of a hidden name": ("/v1///north/secrets/2:watch", "/v1///north/secrets/9:watch"),
    "a part of a hidden backend": ("/openapi.json?backend=south", "/openapi.json?backend=none"),
}


def alike(text: str) -> str:
    """Return a text without the names in which the two requests of a pair differ."""
    for hidden, missing in (("south", "none"), ("secrets/2", "x"), ("secrets/9", "x")):
        text = text.replace(hidden, missing)
    return text.replace("secrets", "nothing")


@pytest.mark.parametrize("pair", PAIRS)
async def test_what_is_hidden_and_what_does_not_exist_have_the_same_answer(pair: str) -> None:
    """Status, headers and body are the same, and no backend is asked."""
    async with served() as (url, north, south), rest(url, BOB) as client:
        await client.get("/openapi.json")  # The methods are then known.
        hidden, missing = [await client.get(path) for path in PAIRS[pair]]
        asked = north.count("GetOperation") + south.count("GetOperation")
        listed = north.count("ListOperations") + south.count("ListOperations")
    assert hidden.status_code == missing.status_code >= 400
    assert alike(hidden.text) == alike(missing.text)
    varying = {"date", "x-request-id", "content-length"}
    headers = [
        {key: value for key, value in each.headers.items() if key not in varying}
        for each in (hidden, missing)
    ]
    assert headers[0] == headers[1]
    assert (asked, listed) == (0, 0)


async def test_a_hidden_method_is_no_path_and_no_tool() -> None:
    """The answers are those for a method that no backend has."""
    async with served() as (url, north, _):
        async with rest(url, BOB) as client:
            answers = [
                await client.post(f"/v1/{path}", json=factory.ORDER)
                for path in ("machines:build", "machines:none")
            ]
        async with mcp(url, BOB) as agent:
            for name in ("build_machine", "none"):
                with pytest.raises(MCPError, match=f"there is no tool '{name}'"):
                    await agent.call_tool(name, dict(factory.ORDER))
        assert north.count("BuildMachine") == 0
    texts = [each.text.replace("machines:build", "machines:none") for each in answers]
    assert {each.status_code for each in answers} == {404}
    assert texts[0] == texts[1]


async def test_a_caller_that_may_do_nothing_learns_nothing() -> None:
    """It has no tools, no paths of operations and no choices."""
    nobody = Principal("nobody", "https://id", "none")
    rules = [{"allow": ["*"], "tenants": ["ops"]}]
    async with (
        ContraryBackend.open(
            HANDLERS, methods=METHODS, pool=POOL, reflection_versions=("v1",)
        ) as north,
        policed(rules, {"name": "north", "target": north.target}) as url,
    ):
        async with mcp(url, nobody) as client:
            assert (await client.list_tools()).tools == []
        async with rest(url, nobody) as http:
            paths = (await http.get("/openapi.json")).json()["paths"]
            assert set(paths) == {"/livez", "/readyz", "/healthz/operations"}
            for path in ("/v1/jobs/1", "/v1/operations", "/v1///none/jobs/1"):
                answer = await http.get(path)
                assert answer.status_code in {400, 403}
                assert "north" not in answer.text
            assert (await http.get("/v1///north/jobs/1")).status_code == 400


FAILING = "1 / size(caller.groups) > 0"
"""A condition without a value for a caller without groups."""


@pytest.mark.parametrize(
    ("rule", "path", "verb"),
    [
        ({"allow": ["start"], "methods": ["*"]}, "/openapi.json", "start"),
        ({"deny": ["start"]}, "/openapi.json", "start"),
        ({"allow": ["list"], "names": ["jobs/**"]}, "/v1/operations", "list"),
        ({"deny": ["list"], "names": ["jobs/**"]}, "/v1/operations", "list"),
    ],
)
async def test_the_log_tells_which_condition_hides_something(
    rule: dict[str, Any], path: str, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller never asks for what it does not see, so no refusal tells the reason."""
    rules = [{"allow": ["get"]}, {**rule, "when": FAILING}, {"allow": ["*"], "tenants": ["ops"]}]
    async with (
        ContraryBackend.open(
            HANDLERS, methods=METHODS, pool=POOL, reflection_versions=("v1",)
        ) as backend,
        policed(rules, {"name": "north", "target": backend.target}) as url,
        rest(url, BOB) as client,
    ):
        shown = await client.get(path)
    assert "jobs/1" not in shown.text
    assert "machines:build" not in shown.text
    assert (
        f"the condition of policy[1] has no value, so the rule denies {verb}: divide by zero"
        in (caplog.messages)
    )
