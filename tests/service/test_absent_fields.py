"""Refusals of requests that lack REQUIRED fields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx
import pytest
from google.api import field_behavior_pb2
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2
from mcp import Client

from lro_gateway.background import Slices
from lro_gateway.descriptors.field_behavior import is_update
from lro_gateway.descriptors.message_types import descriptor_of
from lro_gateway.descriptors.parsing import parse
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import StatusError
from lro_gateway.service.absent_fields import check_absent
from tests import factory
from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.strange import OPTIONAL, Strange

_F = FieldDescriptorProto


@cache
def flags() -> Strange:
    """Return a service with a request of REQUIRED fields of several kinds."""
    strange = Strange()
    strange.file.dependency.append("google/api/field_behavior.proto")
    kinds = strange.file.enum_type.add(name="Kind")
    kinds.value.add(name="KIND_UNSPECIFIED", number=0)
    kinds.value.add(name="LARGE", number=1)
    colors = strange.file.enum_type.add(name="Color")
    colors.value.add(name="RED", number=0)
    request = strange.message("Flags", "name")
    for name, kind, type_name in (
        ("dry", _F.TYPE_BOOL, ""),
        ("count", _F.TYPE_INT32, ""),
        ("color", _F.TYPE_ENUM, ".strange.Color"),
        ("kind", _F.TYPE_ENUM, ".strange.Kind"),
        ("optional_count", _F.TYPE_INT32, ""),
        ("default_parent", _F.TYPE_STRING, ""),
    ):
        number = len(request.field) + 1
        request.field.add(
            name=name, number=number, type=kind, label=OPTIONAL, type_name=type_name or None
        )
    request.oneof_decl.add(name="_optional_count")
    request.field[5].oneof_index, request.field[5].proto3_optional = 0, True
    for field in request.field:
        field.options.Extensions[field_behavior_pb2.field_behavior].append(
            field_behavior_pb2.REQUIRED
        )
    comment = strange.file.source_code_info.location.add(path=[4, 0, 2, 6], span=[0, 0, 0])
    comment.leading_comments = " If omitted, it is the parent of the project."
    strange.method("Set", "strange.Flags")
    return strange


async def missing(types: TypeSet, name: str, value: Any, *, by_library: bool = False) -> list[str]:
    """Return the fields that the refusal of a request names, or none if it is not refused."""
    message_class = types.message_class(name)
    assert message_class is not None
    message = message_class()
    absent = parse(value, message, types)
    update = is_update(descriptor_of(message))
    request = error_details_pb2.BadRequest()
    try:
        await check_absent(absent, types, Slices(), is_update=update, by_library=by_library)
    except StatusError as error:
        error.status.details[1].Unpack(request)
    return [violation.field for violation in request.field_violations]


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ({}, ["parent", "machine"]),
        ({"parent": None, "machine": {"title": "t"}}, ["parent"]),
        ({"parent": "lines/1", "machine": {}}, ["machine.title"]),
        ({"parent": "", "machine": {"title": ""}}, []),
        ({"parent": "p", "machine": {"title": "t", "parts": {"a": {}}}}, ["machine.parts.a.title"]),
    ],
)
async def test_a_required_field_is_missing_if_its_message_is_given(
    value: dict[str, Any], fields: list[str]
) -> None:
    """An empty value that the caller gives is not missing. All missing fields are named."""
    assert await missing(factory.types(), "factory.v1.BuildMachineRequest", value) == fields


async def test_an_update_needs_no_required_field_of_its_resource() -> None:
    """The mask names what it changes."""
    update = "factory.v1.UpdateMachineRequest"
    assert await missing(factory.types(), update, {"machine": {}}) == []
    assert await missing(factory.types(), update, {}) == ["machine"]


async def test_a_payload_in_an_any_need_not_have_its_required_fields() -> None:
    """The backend knows what it needs of a payload."""
    extra = {"@type": "type.googleapis.com/factory.v1.Machine"}
    value = {"parent": "lines/1", "machine": {"title": "t"}, "extra": extra}
    assert await missing(factory.types(), "factory.v1.BuildMachineRequest", value) == []


async def test_a_request_that_a_library_has_printed_may_lack_more() -> None:
    """It lacks fields that are 0 or false, and REQUIRED fields of inner messages."""
    types = TypeSet()
    assert types.add(FileDescriptorSet.FromString(flags().descriptor_set()).file) == []
    every = ["name", "dry", "count", "color", "kind", "optionalCount"]
    assert await missing(types, "strange.Flags", {}) == every
    assert await missing(types, "strange.Flags", {}, by_library=True) == [
        *("name", "kind", "optionalCount")
    ]
    build = "factory.v1.BuildMachineRequest"
    assert await missing(factory.types(), build, {"machine": {}}, by_library=True) == ["parent"]
    zeros = {"name": "n", "dry": False, "count": 0, "color": 0, "kind": 0, "optionalCount": 0}
    assert await missing(types, "strange.Flags", zeros) == []


@asynccontextmanager
async def faces() -> AsyncIterator[tuple[str, ContraryBackend]]:
    """Serve the service with REQUIRED fields; yields the gateway's URL, and the backend."""
    answer = operations_pb2.Operation(name="operations/1", done=True)
    async with (
        ContraryBackend.open(
            {},
            methods={"strange.Strange/Set": answering(answer)},
            pool=flags().pool(),
            reflection_versions=("v1",),
        ) as backend,
        serving({"name": "b", "target": backend.target}) as url,
    ):
        yield url, backend


SENT: Mapping[str, Any] = {
    "name": "n",
    "kind": "LARGE",
    "optionalCount": 0,
    "defaultParent": "p",
}


async def test_a_request_over_rest_may_leave_out_zeros() -> None:
    """Clients print a request with a library, so 0 cannot be told from a missing field."""
    async with faces() as (url, backend), httpx.AsyncClient(base_url=url) as client:
        path = "/v1/strange.Strange/Set"
        assert (await client.post(path, json=SENT)).status_code == 200
        refused = await client.post(path, json={**SENT, "kind": None})
        assert refused.status_code == 400
        assert refused.json()["error"]["message"] == "kind: is required"
        assert backend.count("Set") == 1


async def test_a_call_over_mcp_must_give_every_required_field() -> None:
    """A model has read in the schema that the field is required."""
    async with faces() as (url, backend), Client(f"{url}/mcp") as client:
        refused = await client.call_tool("set", {**SENT, "dry": False, "color": "RED"})
        assert refused.is_error
        assert "count: is required" in str(refused.content)
        given = {**SENT, "dry": False, "color": "RED", "count": 0}
        assert not (await client.call_tool("set", given)).is_error
        assert backend.count("Set") == 1
