"""Every face refuses every kind of bad credentials, before anything is asked of a backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway.access.policy import Verb
from tests import factory
from tests.access.authorization_server import AuthorizationServer
from tests.access.callers_of import bearing, identifying, issuer_settings
from tests.access.token_signer import TokenSigner
from tests.contrary import ContraryBackend, Handler, acknowledging, answering

_DONE: Final = operations_pb2.Operation(name="jobs/1", done=True)
_HANDLERS: Final[Mapping[str, Handler]] = {
    "GetOperation": answering(_DONE),
    "WaitOperation": answering(_DONE),
    "ListOperations": answering(operations_pb2.ListOperationsResponse(operations=[_DONE])),
    "CancelOperation": acknowledging(),
    "DeleteOperation": acknowledging(),
}
_METHODS: Final[Mapping[str, Handler]] = {
    f"{factory.SERVICE}/BuildMachine": answering(_DONE),
    f"{factory.SERVICE}/GetMachine": answering(factory.message("Machine", title="t")),
}


@dataclass(frozen=True)
class Sent:
    """A request of a face, and the verb that it causes, if it causes one."""

    method: str
    path: str
    verb: Verb | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def _mcp(method: str, verb: Verb | None = None, **params: Any) -> Sent:
    """Return a request of MCP in the revision 2026-07-28."""
    version = "2026-07-28"
    prefix = "io.modelcontextprotocol"
    meta = {
        f"{prefix}/protocolVersion": version,
        f"{prefix}/clientCapabilities": {"extensions": {f"{prefix}/tasks": {}}},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    named = params.get("name") or params.get("uri")
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": version,
        "mcp-method": method,
        **({"mcp-name": named} if named else {}),
    }
    return Sent("POST", "/mcp", verb, body, headers)


def _tool(tool: str, verb: Verb, /, **arguments: Any) -> Sent:
    return _mcp("tools/call", verb, name=tool, arguments=arguments)


def _legacy() -> Sent:
    info = {"name": "test", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    accept = {"accept": "application/json, text/event-stream"}
    return Sent("POST", "/mcp", None, body, accept)


_REST: Final = {
    "get": Sent("GET", "/v1/jobs/1", Verb.GET),
    "list": Sent("GET", "/v1/operations", Verb.LIST),
    "wait": Sent("POST", "/v1/jobs/1:wait", Verb.WAIT),
    "events": Sent("GET", "/v1/jobs/1:watch", Verb.WAIT),
    "events of a list": Sent("GET", "/v1/operations:watch", Verb.LIST),
    "cancel": Sent("POST", "/v1/jobs/1:cancel", Verb.CANCEL),
    "delete": Sent("DELETE", "/v1/jobs/1", Verb.DELETE),
    "start": Sent("POST", "/v1/machines:build", Verb.START, {**factory.ORDER}),
    "call": Sent("GET", "/v1/lines/1/machines/1", Verb.CALL),
    "approve": Sent("POST", f"/v1/approvals/{'0' * 32}:approve", Verb.APPROVE),
    "explain": Sent("POST", "/v1:explain", Verb.EXPLAIN, {"verb": "get", "target": "jobs/1"}),
}
_MCP: Final = {
    "get": _tool("get_operation", Verb.GET, name="jobs/1"),
    "list": _tool("list_operations", Verb.LIST),
    "wait": _tool("wait_operation", Verb.WAIT, name="jobs/1", timeout="0s"),
    "cancel": _tool("cancel_operation", Verb.CANCEL, name="jobs/1"),
    "delete": _tool("delete_operation", Verb.DELETE, name="jobs/1"),
    "start": _tool("build_machine", Verb.START, **factory.ORDER),
    "call": _tool("get_machine", Verb.CALL, name="lines/1/machines/1"),
    "tools": _mcp("tools/list"),
    "task": _mcp("tasks/get", taskId="unknown"),
    "resources": _mcp("resources/list"),
    "resource": _mcp("resources/read", uri="operation://b/jobs/1"),
    "completion": _mcp(
        "completion/complete",
        ref={"type": "ref/resource", "uri": "operation://{backend}/{+name}"},
        argument={"name": "backend", "value": "b"},
    ),
    "legacy": _legacy(),
}
_PAGES: Final = {path: Sent("GET", path) for path in ("/openapi.json", "/metrics", "/unknown")}
_REQUESTS: Final = {
    **{f"REST {name}": sent for name, sent in _REST.items()},
    **{f"MCP {name}": sent for name, sent in _MCP.items()},
    **{f"page {name}": sent for name, sent in _PAGES.items()},
}


def _bad(signer: TokenSigner) -> dict[str, tuple[str, str]]:
    """Return each kind of bad token, and the reason with which it is refused.

    The issuer revokes its first key.
    """
    revoked = signer.token()
    signer.rotate(keep_old=False)
    return {
        "none": ("", "CREDENTIALS_MISSING"),
        "expired": (signer.expired(), "TOKEN_EXPIRED"),
        "not yet valid": (signer.not_yet_valid(), "TOKEN_NOT_YET_VALID"),
        "wrong audience": (signer.token(aud="https://other.test"), "TOKEN_WRONG_AUDIENCE"),
        "wrong issuer": (signer.token(iss="https://other.test"), "TOKEN_WRONG_ISSUER"),
        "algorithm none": (signer.unsigned(), "TOKEN_WRONG_ALGORITHM"),
        "HS256 with the public key": (signer.signed_with_public_key(), "TOKEN_WRONG_ALGORITHM"),
        "unknown kid": (signer.of_unknown_key(), "TOKEN_UNKNOWN_KEY"),
        "revoked key": (revoked, "TOKEN_UNKNOWN_KEY"),
        "forged": (signer.forged(), "TOKEN_WRONG_SIGNATURE"),
    }


@asynccontextmanager
async def _served(issuer: AuthorizationServer) -> AsyncIterator[tuple[str, ContraryBackend]]:
    async with (
        ContraryBackend.open(
            dict(_HANDLERS),
            methods=dict(_METHODS),
            pool=factory.pool(),
            reflection_versions=("v1",),
        ) as backend,
        identifying(
            {"issuers": [issuer_settings(issuer)]},
            {"name": "b", "target": backend.target, "methods": ["*/GetMachine"]},
            policy=[{"allow": ["*"]}],
        ) as (_, url),
    ):
        yield url, backend


async def _answer(client: httpx.AsyncClient, sent: Sent) -> httpx.Response:
    """Return the answer to a request. Of a stream, only the beginning is read."""
    headers = {**sent.headers, "origin": str(client.base_url)}
    request = client.build_request(sent.method, sent.path, json=sent.body, headers=headers)
    response = await client.send(request, stream=True)
    try:
        if not response.headers["content-type"].startswith("text/event-stream"):
            await response.aread()
    finally:
        await response.aclose()
    return response


def test_every_verb_has_a_row_for_each_face() -> None:
    """A new verb needs a request of both faces here. Explanations and approvals are no tools."""
    assert {sent.verb for sent in _REST.values()} == {*Verb}
    assert {sent.verb for sent in _MCP.values()} == {*Verb, None} - {Verb.EXPLAIN, Verb.APPROVE}


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[AuthorizationServer]:
    """Yield a running authorization server."""
    async with AuthorizationServer.open(tmp_path) as server:
        yield server


async def test_bad_credentials_reach_no_face_and_no_backend(issuer: AuthorizationServer) -> None:
    """The answer is the same on each face: 401, the reason, and the challenge of RFC 6750."""
    bad = _bad(issuer.signer)
    found: dict[str, set[tuple[int, str, str]]] = {name: set() for name in bad}
    async with _served(issuer) as (url, backend):
        for name, (token, _) in bad.items():
            async with bearing(url, token) as client:
                for sent in _REQUESTS.values():
                    response = await _answer(client, sent)
                    (info,) = response.json()["error"]["details"]
                    challenge = response.headers["www-authenticate"]
                    found[name].add((response.status_code, info["reason"], challenge[:23]))
                    assert not token or token.rpartition(".")[0] not in response.text
        assert backend.answered == []
    missing, invalid = "Bearer resource_metadata", 'Bearer error="invalid_t'
    assert found == {
        name: {(401, reason, (invalid if token else missing)[:23])}
        for name, (token, reason) in bad.items()
    }


async def test_the_same_requests_are_answered_with_a_good_token(
    issuer: AuthorizationServer,
) -> None:
    """Each row is a request that its face knows."""
    issuer.signer.rotate()
    async with _served(issuer) as (url, _), bearing(url, issuer.signer.token()) as client:
        answers = {name: await _answer(client, sent) for name, sent in _REQUESTS.items()}
    wrong = [name for name, answer in answers.items() if answer.is_error]
    # No call and no task has this id, and no page has this path.
    assert wrong == ["REST approve", "MCP task", "page /unknown"]
