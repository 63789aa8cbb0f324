"""Calls of methods over HTTP: which parameters are fields, and what the response holds."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf import wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from tests import factory
from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.rest import library
from tests.rest.library import method, rule

OVERHAUL = "factory.v1.Factory/Overhaul"
BUILD = "factory.v1.Factory/BuildMachine"


def pool_of(files: FileDescriptorSet) -> DescriptorPool:
    """Return a pool of these files."""
    pool = DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


@pytest.mark.parametrize(
    ("query", "called"),
    [("gateway_backend=b1", [0, 1]), ("gateway_backend=b0", [1, 0]), ("", [0, 0])],
)
async def test_a_backend_is_chosen_although_the_request_has_a_field_named_backend(
    query: str, called: list[int]
) -> None:
    """`gateway_backend` chooses the backend, and the field `backend` is passed on."""
    answer = answering(operations_pb2.Operation(name="operations/1", done=True))
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(
                ContraryBackend.open(
                    {},
                    methods={OVERHAUL: answer},
                    pool=factory.pool(),
                    reflection_versions=("v1",),
                )
            )
            for _ in range(2)
        ]
        configured = [{"name": f"b{n}", "target": each.target} for n, each in enumerate(backends)]
        url = await stack.enter_async_context(serving(*configured))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
        response = await client.post(f"/v1/{OVERHAUL}?{query}", json={"backend": "own"})
        assert response.status_code == (200 if query else 400)
        assert [each.count("Overhaul") for each in backends] == called
        requests = [call.request.backend for each in backends for call in each.answered]
        assert requests == ["own"] * sum(called)
        twice = await client.post(f"/v1/{OVERHAUL}?gateway_backend=b0&gateway_backend=b1")
        assert twice.json()["error"]["message"] == "gateway_backend: is given twice; give it once"


async def received_and_answered(query: str, field: str, json_name: str = "") -> Any:
    """GET a method whose request has this field; return the value that arrives, and the answer.

    The field's JSON name is its own name, unless another one is given.
    """
    files = library.descriptor_set(method("Get", rule("GET", "/v1/books")))
    (file,) = (each for each in files.file if each.name == "library.proto")
    (message,) = (each for each in file.message_type if each.name == "BookRequest")
    message.field[0].name, message.field[0].json_name = field, json_name or field
    async with ContraryBackend.open(
        {},
        methods={"library.v1.Library/Get": answering(b"\x18\x07")},
        pool=pool_of(files),
        reflection_versions=("v1",),
    ) as backend:
        configured = {"name": "b", "target": backend.target, "methods": ["*/*"]}
        async with serving(configured) as url, httpx.AsyncClient(base_url=url) as client:
            answer = await client.get(f"/v1/books?{query}")
        return getattr(backend.answered[0].request, field), answer.json()


@pytest.mark.parametrize("name", ["fields", "alt", "key", "callback"])
async def test_a_field_is_set_although_a_system_parameter_has_its_name(name: str) -> None:
    """The parameter sets the field, and the gateway does not use it or drop it."""
    assert await received_and_answered(f"{name}=read", name) == ("read", {"total": "7"})


@pytest.mark.parametrize(
    ("field", "json_name"),
    [
        ("filter", "$filter"),
        ("alternative", "$alt"),
        ("pretty", "prettyPrint"),
        ("api_key", "$key"),
        ("trace", "$trace"),
        ("start_time", "StartTime<"),
        ("x", "x[]"),
    ],
)
async def test_a_field_is_set_by_its_json_name_whatever_that_is(field: str, json_name: str) -> None:
    """A filter that the gateway dropped would make the method act on everything."""
    query = urlencode({json_name: "done"})
    assert await received_and_answered(query, field, json_name) == ("done", {"total": "7"})
    answer = await received_and_answered(f"{field}=done", field, json_name)
    assert answer == ("done", {"total": "7"})


@pytest.mark.parametrize("name", ["$filter", "$Filter", "$.x", "$", "$orderby", "Filter"])
async def test_an_unknown_parameter_is_refused_although_it_begins_with_a_dollar(name: str) -> None:
    """Google's system parameters are a list of names. Any other name may be meant as a filter."""
    configured = {"name": "b", "target": "127.0.0.1:1"}
    async with serving(configured) as url, httpx.AsyncClient(base_url=url) as client:
        error = (await client.get("/v1/operations", params={name: "done"})).json()["error"]
    assert error["details"][0]["reason"] == "UNKNOWN_FIELD"
    assert error["details"][0]["metadata"]["field"] == name


async def test_a_system_parameter_can_be_written_with_a_dollar() -> None:
    """`$fields` selects parts of the response even if `fields` sets a field of the request."""
    answer = await received_and_answered("$fields=best&fields=read", "fields")
    assert answer == ("read", {})


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        (wrappers_pb2.BoolValue(), False),
        (wrappers_pb2.BoolValue(value=True), True),
        (wrappers_pb2.StringValue(), ""),
        (wrappers_pb2.DoubleValue(), 0.0),
    ],
)
async def test_a_response_whose_json_is_not_an_object_is_returned_as_it_is(
    answer: Message, printed: object
) -> None:
    """False, an empty text and zero are returned, and not replaced by `{}`."""
    descriptor: Any = answer.DESCRIPTOR
    checking = replace(method("Check", rule("GET", "/v1/check")), response=descriptor)
    async with ContraryBackend.open(
        {},
        methods={"library.v1.Library/Check": answering(answer)},
        pool=pool_of(library.descriptor_set(checking)),
        reflection_versions=("v1",),
    ) as backend:
        configured = {"name": "b", "target": backend.target, "methods": ["*/*"]}
        async with serving(configured) as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/v1/check")).json() == printed


async def test_a_request_id_that_the_gateway_filled_in_is_returned() -> None:
    """A header has it, for a retry, unless the caller gave the request_id."""
    answer = operations_pb2.Operation(name="operations/1", done=True)
    async with ContraryBackend.open(
        {},
        methods={BUILD: answering(answer)},
        pool=factory.pool(),
        reflection_versions=("v1",),
    ) as backend:
        configured = {"name": "b", "target": backend.target}
        async with serving(configured) as url, httpx.AsyncClient(base_url=url) as client:
            request = {"parent": "lines/1", "machine": {"title": "Loom"}}
            filled = await client.post("/v1/machines:build", json=request)
            given = await client.post("/v1/machines:build", json=request | {"requestId": "mine"})
        calls = [call.request.request_id for call in backend.answered]
    assert calls == [filled.headers["lro-gateway-request-id"], "mine"]
    assert "lro-gateway-request-id" not in given.headers
