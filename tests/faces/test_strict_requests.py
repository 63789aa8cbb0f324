"""Requests of methods through both faces: wrong JSON, field masks and unusual names of fields."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from mcp import Client

from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.strange import Strange

KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def files() -> Strange:
    """Return a service that updates a resource, and one method with odd names of fields."""
    strange = Strange()
    strange.file.dependency.append("google/protobuf/field_mask.proto")
    inner = strange.message("Inner", "note")
    inner.field.add(name="more", number=2, label=3, type=11, type_name=".strange.Inner")
    thing = strange.message("Thing", "name", "display_name_2", "renamed")
    thing.field[2].json_name = "otherName"
    thing.field.add(name="n", number=4, label=1, type=11, type_name=".strange.Inner")
    update = strange.message("Update")
    update.field.add(name="thing", number=1, label=1, type=11, type_name=".strange.Thing")
    mask = ".google.protobuf.FieldMask"
    update.field.add(name="field_mask", number=2, label=1, type=11, type_name=mask)
    odd = strange.message("Odd", "filter", "start_time", "x", "backend", "gateway_backend")
    for field, json_name in zip(odd.field, ("$filter", "StartTime<", "x[]"), strict=False):
        field.json_name = json_name
    odd.field.add(name="dotted", number=6, label=1, type=9, json_name="$.xgafv")
    odd.field.add(name="nested", number=7, label=1, type=11, type_name=".strange.Dots")
    strange.message("Dots", "both").field[0].json_name = "a.b.c"
    strange.method("Change", "strange.Update", post="/v1/things:change", body="*")
    strange.method("Patch", "strange.Update", patch="/v1/{thing.name=things/*}", body="thing")
    strange.method("Purge", "strange.Odd", post="/v1/things:purge")
    return strange


@dataclass
class Faces:
    """A gateway's two faces and its backend."""

    rest: httpx.AsyncClient
    mcp: Client
    backend: ContraryBackend

    def last(self) -> Any:
        """Return the request of the latest call that the backend received."""
        return self.backend.answered[-1].request


@pytest.fixture
async def faces() -> AsyncIterator[Faces]:
    """Open clients of a gateway to a backend with these methods."""
    strange = files()
    answer = answering(operations_pb2.Operation(name="jobs/1", done=True))
    methods = {f"strange.Strange/{each.name}": answer for each in strange.service.method}
    async with (
        ContraryBackend.open(
            {}, methods=methods, pool=strange.pool(), reflection_versions=("v1",)
        ) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as rest,
        Client(f"{url}/mcp", mode="2026-07-28") as mcp,
    ):
        yield Faces(rest, mcp, backend)


@pytest.mark.parametrize("value", ["", [], 0, False, "x", '{"note": "a"}'], ids=repr)
@pytest.mark.parametrize("path", ["thing.n", "thing.n.more[0]"])
async def test_a_value_that_is_no_message_never_wipes_a_field(
    faces: Faces, value: Any, path: str
) -> None:
    """With a field mask, an empty message in its place would delete what the field holds."""
    inner = value if path == "thing.n" else {"more": [value]}
    request = {"thing": {"n": inner}, "fieldMask": "n"}
    refused = (await faces.rest.post("/v1/things:change", json=request)).json()["error"]
    result = await faces.mcp.call_tool("change", request)
    assert result.is_error
    assert isinstance(result.content[0], types.TextContent)
    message = json.loads(result.content[0].text)["message"]
    assert message == refused["message"]
    assert message.startswith(f"{path}: an object is needed, not ")
    assert faces.backend.answered == []


@pytest.mark.parametrize(
    ("mask", "paths"),
    [
        ("n.note", ["n.note"]),
        ("displayName2", ["display_name_2"]),
        ("display_name_2, otherName", ["display_name_2", "renamed"]),
        ("renamed", ["renamed"]),
        ("*", ["*"]),
        ("", []),
    ],
)
@pytest.mark.parametrize("key", ["fieldMask", "field_mask"])
async def test_a_field_mask_may_have_either_spelling_in_a_body_and_in_a_query(
    faces: Faces, key: str, mask: str, paths: list[str]
) -> None:
    """The names are those of the message that the request holds."""
    request = {"thing": {"name": "things/1"}, key: mask}
    assert (await faces.rest.post("/v1/things:change", json=request)).status_code == 200
    assert faces.last().field_mask.paths == paths
    assert not (await faces.mcp.call_tool("change", request)).is_error
    assert faces.last().field_mask.paths == paths
    patched = await faces.rest.patch("/v1/things/1", params={key: mask}, json={})
    assert patched.status_code == 200
    assert faces.last().field_mask.paths == paths


def keys(schema: Any) -> Iterator[str]:
    """Yield each key of `properties`, `required` and `dependentSchemas` at every depth."""
    if isinstance(schema, list):
        for each in schema:
            yield from keys(each)
    if isinstance(schema, dict):
        for key in ("properties", "required", "dependentSchemas"):
            yield from schema.get(key, ())
        for each in schema.values():
            yield from keys(each)


async def test_names_that_providers_refuse_are_no_keys_of_tools_and_are_read_everywhere(
    faces: Faces,
) -> None:
    """A filter arrives under its own name and under its JSON name, in a call and in a query."""
    tools = {tool.name: tool for tool in (await faces.mcp.list_tools()).tools}
    for tool in tools.values():
        assert [key for key in keys(tool.input_schema) if not KEY.fullmatch(key)] == []
    names = ["filter", "start_time", "x", "backend", "gatewayBackend", "dotted", "nested"]
    assert list(tools["purge"].input_schema["properties"]) == names
    for name in ("filter", "$filter"):
        assert not (await faces.mcp.call_tool("purge", {name: "done"})).is_error
        assert faces.last().filter == "done"
        purged = await faces.rest.post("/v1/things:purge", params={name: "done", "x[]": "1"})
        assert purged.status_code == 200
        assert (faces.last().filter, faces.last().x) == ("done", "1")
    for name in ("$Filter", "Filter", "$orderBy"):
        refused = await faces.rest.post("/v1/things:purge", params={name: "done"})
        assert refused.json()["error"]["details"][0]["reason"] == "UNKNOWN_FIELD"


async def test_a_field_whose_json_name_has_dots_can_be_given_by_the_query(faces: Faces) -> None:
    """The document has such a name, and the name may be that of a system parameter too."""
    document = (await faces.rest.get("/openapi.json")).json()
    parameters = document["paths"]["/v1/things:purge"]["post"]["parameters"]
    assert "nested.a.b.c" in {each.get("name") for each in parameters}
    query = {"nested.a.b.c": "both", "$.xgafv": "2"}
    assert (await faces.rest.post("/v1/things:purge", params=query)).status_code == 200
    assert (faces.last().nested.both, faces.last().dotted) == ("both", "2")


async def test_a_backend_is_chosen_although_the_request_has_fields_of_both_names(
    faces: Faces,
) -> None:
    """The name of the parameter is one that no field has."""
    parameters = {"backend": "one", "gateway_backend": "two", "gateway_gateway_backend": "b"}
    assert (await faces.rest.post("/v1/things:purge", params=parameters)).status_code == 200
    assert (faces.last().backend, faces.last().gateway_backend) == ("one", "two")
    assert not (await faces.mcp.call_tool("purge", parameters)).is_error
    assert (faces.last().backend, faces.last().gateway_backend) == ("one", "two")
