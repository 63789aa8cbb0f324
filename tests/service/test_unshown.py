"""Calls that succeeded although their answers cannot be shown: nothing asks to repeat them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from mcp import Client

from lro_gateway.operations.operation import Operation
from tests import factory
from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.strange import Strange

BUILD = "factory.v1.Factory/BuildMachine"
NAME = "lines/1/operations/7"


def deep_pool() -> DescriptorPool:
    """Return a service whose plain methods answer with a message that holds itself."""
    strange = Strange()
    strange.message("Asked", "request_id")
    strange.message("Deep").field.add(
        name="inner",
        number=1,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        label=FieldDescriptorProto.LABEL_REPEATED,
        type_name=".strange.Deep",
    )
    strange.method("Change", "strange.Asked", "strange.Deep")
    strange.method("GetState", "strange.Asked", "strange.Deep", get="/v1/state")
    return strange.pool()


def deep_answer() -> bytes:
    """Return the bytes of a message that is nested deeper than the gateway prints."""
    content = b""
    for _ in range(50):
        content = b"\x0a" + bytes([len(content)]) + content
    return content


@asynccontextmanager
async def gateway(
    methods: dict[str, Any], pool: DescriptorPool
) -> AsyncIterator[tuple[httpx.AsyncClient, Client]]:
    """Serve these methods; yield a client of REST and one of MCP."""
    async with (
        ContraryBackend.open({}, methods=methods, reflection_versions=("v1",), pool=pool) as b,
        serving({"name": "b", "target": b.target, "methods": ["*"]}, sync_grace="0s") as url,
        httpx.AsyncClient(base_url=url) as rest,
        Client(f"{url}/mcp", mode="2026-07-28") as mcp,
    ):
        yield rest, mcp


async def test_an_operation_that_has_begun_is_named_although_it_cannot_be_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault of the gateway must lose neither the operation nor the request_id."""

    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise RuntimeError("a fault")

    running = operations_pb2.Operation(name=NAME)
    async with gateway({BUILD: answering(running)}, factory.pool()) as (rest, mcp):
        monkeypatch.setattr(Operation, "to_json", fail)
        response = await rest.post("/v1/machines:build", json=factory.ORDER)
        result = await mcp.call_tool("build_machine", dict(factory.ORDER))
    error = response.json()["error"]
    assert response.status_code == 500
    assert error["message"].startswith(
        f"operation {NAME} has begun, but its answer cannot be shown"
    )
    assert f"Read the operation with GET /v1/{NAME}. Do not send" in error["message"]
    info, request = error["details"]
    assert request == {
        "@type": "type.googleapis.com/google.rpc.RequestInfo",
        "requestId": response.headers["x-request-id"],
    }
    assert info["reason"] == "INTERNAL"
    assert info["metadata"]["operation"] == NAME
    request_id = response.headers["lro-gateway-request-id"]
    assert uuid.UUID(request_id).version == 4
    assert info["metadata"]["request_id"] == request_id
    assert result.is_error
    told = " ".join(getattr(each, "text", "") for each in result.content)
    assert f"operation {NAME} has begun" in told
    assert "Follow the operation with get_operation. Do not call this tool again" in told
    assert uuid.UUID((result.meta or {})["lro-gateway/request_id"]).version == 4


async def test_a_call_that_changed_something_is_not_to_be_repeated() -> None:
    """Its answer has no JSON form. A call that only reads has no such advice."""
    paths = ("strange.Strange/Change", "strange.Strange/GetState")
    handlers = {path: answering(deep_answer()) for path in paths}
    async with gateway(handlers, deep_pool()) as (rest, mcp):
        changed = await rest.post("/v1/strange.Strange/Change", json={})
        result = await mcp.call_tool("change", {})
        read = await rest.get("/v1/state")
    error = changed.json()["error"]
    assert error["message"].startswith("the call succeeded, but its answer cannot be shown")
    assert "Do not send the request again" in error["message"]
    assert error["details"][0]["reason"] == "UNPRINTABLE_RESPONSE"
    assert "lro-gateway-request-id" in changed.headers
    told = " ".join(getattr(each, "text", "") for each in result.content)
    assert "Do not call this tool again" in told
    assert read.status_code == 500
    assert "Do not send" not in read.json()["error"]["message"]
