"""Each verb over each face: how to make one call of it, and what its answer says."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx2
import mcp_types as types
from mcp.shared.exceptions import MCPError

from lro_gateway.access.policy import Verb
from lro_gateway.commands.terminal.failures import RefusedError
from lro_gateway.commands.terminal.gateway_client import GatewayClient, Listing
from lro_gateway.mcp.operation_uris import TEMPLATE
from lro_gateway.principal import Principal
from tests import factory
from tests.access.policed import claims, mcp, rest
from tests.mcp.wire import RpcError, Wire

NAME: Final = "jobs/operations/1"
OWNER: Final = Principal("alice", "https://id", "data")
ASKER: Final = Principal("asker", "https://id", "data")
Outcome = str
"""`ok`, the reason of an error, `hidden` for what does not exist, or `not listed`."""
Crossing = Callable[[str, Principal], Awaitable[Outcome]]
"""Makes one call of a face as a caller, and returns the outcome."""
_HIDDEN: Final = frozenset(
    {"NO_SUCH_OPERATION", "NO_SUCH_PARENT", "UNKNOWN_PATH", "UNKNOWN_METHOD", "NO_EXPLANATION"}
)
_STATUSES: Final = {
    "POLICY_DENIED": 403,
    "INSUFFICIENT_SCOPE": 403,
    "RATE_EXCEEDED": 429,
    "TOO_MANY_WATCHES": 429,
    "TOO_MANY_REQUESTS": 429,
}
_CALL_AGAIN: Final = re.compile(
    r"the gateway has not made this call, .*; call again in \d+ s, or see limits\.rates\."
)


def named(reason: str) -> Outcome:
    """Return the outcome of an error of the gateway."""
    return "hidden" if reason in _HIDDEN else reason


def of_details(error: Mapping[str, Any]) -> Outcome:
    """Return the outcome of an error with details. Only a rate tells when to retry."""
    reason = error["details"][0]["reason"]
    assert any("retryDelay" in each for each in error["details"]) == (reason == "RATE_EXCEEDED")
    return named(reason)


def of_mcp(error: MCPError) -> Outcome:
    """Return the outcome of a JSON-RPC error."""
    message = error.error.message
    if _CALL_AGAIN.match(message) and error.error.data["status"] == "RESOURCE_EXHAUSTED":
        return "RATE_EXCEEDED"
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
        outcome = of_details(answer.json()["error"])
        assert answer.status_code == _STATUSES.get(outcome, 404), answer.text
        assert ("retry-after" in answer.headers) == (outcome == "RATE_EXCEEDED")
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
        return of_details(json.loads(result.content[0].text))  # type: ignore[union-attr]  # a text

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
        return of_details(json.loads(result["content"][0]["text"]))

    return cross


def of_rpc(error: RpcError) -> Outcome:
    """Return the outcome of a JSON-RPC error, whose HTTP status is 403 if a scope is missing."""
    lacks = "your credentials lack a scope that you need to"
    if lacks in error.message and error.message.endswith(": lro.all openid"):
        return "INSUFFICIENT_SCOPE"
    if error.message.endswith("see limits.max_watches_per_principal"):
        return "TOO_MANY_WATCHES" if error.data["status"] == "RESOURCE_EXHAUSTED" else error.message
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
                return of_details({"details": error.details})
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
    return of_details(answer.json()["error"])


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
            answer = await client.get("/openapi.json")
        if answer.status_code != 200:
            return of_details(answer.json()["error"])
        paths = answer.json()["paths"]
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
