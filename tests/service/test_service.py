"""The verbs: the policy is consulted before the backend is called, and errors are statuses."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from mcp import Client

from lro_gateway.access.policy import (
    Action,
    AllowAll,
    ListAction,
    OperationAction,
    Policy,
    Verb,
)
from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.gateway import Gateway
from lro_gateway.log_context import KEPT
from lro_gateway.operations.names import GatewayName
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import ListRequest, NameRequest, WaitRequest
from lro_gateway.serving.app import create_app, create_mcp_server
from tests.contrary import ContraryBackend, Handler, acknowledging, answering, refusing

ALICE = Principal("alice", "test")
BOB = Principal("bob", "test")
DONE = operations_pb2.Operation(name="jobs/1", done=True)
HANDLERS: dict[str, Handler] = {
    "GetOperation": answering(DONE),
    "WaitOperation": answering(DONE),
    "ListOperations": answering(
        operations_pb2.ListOperationsResponse(
            operations=[DONE],
            next_page_token="more",  # noqa: S106 - a backend's page token
        )
    ),
    "CancelOperation": acknowledging(),
    "DeleteOperation": acknowledging(),
}


@dataclass
class OnlyAlice(AllowAll):
    """A policy that allows only Alice, and records every action."""

    actions: list[tuple[str, Action]] = field(default_factory=list)

    async def authorize(self, caller: Principal, action: Action, /) -> str:
        """Allow Alice."""
        self.actions.append((caller.subject, action))
        if caller != ALICE:
            raise status_error(Code.PERMISSION_DENIED, "not you", "NOT_ALLOWED")
        return ""


class Broken(AllowAll):
    """A policy that raises an unexpected exception."""

    async def authorize(self, caller: Principal, action: Action, /) -> str:
        """Raise an exception that is not a StatusError."""
        raise ZeroDivisionError(caller, action)


@asynccontextmanager
async def service_under(policy: Policy) -> AsyncIterator[tuple[OperationService, ContraryBackend]]:
    """Open the service over one backend under a policy."""
    async with ContraryBackend.open(HANDLERS) as backend:
        config = GatewayConfig.model_validate(
            {"backends": [{"name": "b", "target": backend.target, "descriptors": []}]}
        )
        async with Gateway.open(config, policy=policy) as gateway:
            yield gateway.service, backend


async def call_all(service: OperationService, caller: Principal) -> None:
    """Call every verb once. The caller is refused unless it is Alice."""
    name = NameRequest("jobs/1")
    for call in (
        service.get(caller, name),
        service.wait(caller, WaitRequest("jobs/1")),
        service.cancel(caller, name),
        service.delete(caller, name),
        service.list(caller, ListRequest("jobs")),
    ):
        if caller == ALICE:
            await call
            continue
        with pytest.raises(StatusError) as caught:
            await call
        assert (caught.value.code, caught.value.reason) == (
            Code.PERMISSION_DENIED,
            "NOT_ALLOWED",
        )


async def test_the_policy_is_consulted_for_every_verb_before_the_backend_is_called() -> None:
    """It gets the caller and the action. The backend gets no call of a refused caller."""
    policy = OnlyAlice()
    async with service_under(policy) as (service, backend):
        await call_all(service, BOB)
        assert backend.calls == []
        await call_all(service, ALICE)
        assert {call.method for call in backend.calls} == {*HANDLERS} - {"WaitOperation"}
    verbs = (Verb.GET, Verb.WAIT, Verb.CANCEL, Verb.DELETE)
    actions: list[Action] = [OperationAction(verb, "b", GatewayName("jobs/1")) for verb in verbs]
    actions.append(ListAction("b", GatewayName("jobs")))
    assert policy.actions == [(caller, action) for caller in ("bob", "alice") for action in actions]


async def test_an_unexpected_exception_is_an_internal_error_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both faces answer INTERNAL, and the log has the traceback."""
    config = GatewayConfig.model_validate(
        {"backends": [{"name": "b", "target": "127.0.0.1:1", "descriptors": []}]}
    )
    async with Gateway.open(config, policy=Broken()) as gateway:
        transport = httpx.ASGITransport(create_app(gateway), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            given = {"X-Request-Id": "r1"}
            response = await client.get("/v1/jobs/1", headers=given)
        async with Client(create_mcp_server(gateway).server) as mcp_client:
            result = await mcp_client.call_tool("get_operation", {"name": "jobs/1"})
    errors = [response.json()["error"], json.loads(getattr(result.content[0], "text", "{}"))]
    assert [(error["status"], error["message"]) for error in errors] == [
        ("INTERNAL", "the gateway failed; its log has the reason")
    ] * 2
    assert (response.status_code, result.is_error) == (500, True)
    assert "ZeroDivision" not in response.text + str(result)
    assert "ZeroDivisionError" in caplog.text
    request_info = {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r1"}
    assert request_info in errors[0]["details"]
    assert [detail["@type"].rpartition(".")[2] for detail in errors[1]["details"]] == ["ErrorInfo"]


@pytest.mark.parametrize(("code", "outcome"), [(None, "OK"), (grpc.StatusCode.ABORTED, "ABORTED")])
async def test_each_change_of_an_operation_leaves_a_line(
    caplog: pytest.LogCaptureFixture, code: grpc.StatusCode | None, outcome: str
) -> None:
    """The line has the verb, the operation, the backend and the outcome, and is always kept."""
    answer = acknowledging() if code is None else refusing(code)
    handlers = {**HANDLERS, "CancelOperation": answer, "DeleteOperation": answer}
    request = NameRequest(GatewayName("jobs/1"))
    async with ContraryBackend.open(handlers) as backend:
        config = GatewayConfig.model_validate(
            {"backends": [{"name": "b", "target": backend.target, "descriptors": []}]}
        )
        async with Gateway.open(config) as gateway:
            with caplog.at_level("INFO", "lro_gateway.service.service"):
                for change in (gateway.service.cancel, gateway.service.delete):
                    with suppress(StatusError):
                        await change(ALICE, request)
    changes = [each for each in caplog.records if each.name == "lro_gateway.service.service"]
    for each, verb in zip(changes, ("cancel", "delete"), strict=True):
        line = rf"{verb} of jobs/1 on b: {outcome} after \d+\.\d{{3}} s"
        assert re.fullmatch(line, each.getMessage())
    assert all(getattr(each, KEPT) for each in changes)
