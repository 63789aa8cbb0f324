"""`$alt=json;enum-encoding=int` prints enums as numbers in every response of a method."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.strange import Strange

READY = b"\x0a\x01n\x10\x01\x1a\x03\x0a\x01n\x22\x01\x01"
"""A message strange.Job: name, state, inner and states."""
NUMBERS = {"name": "n", "state": 1, "inner": {"name": "n"}, "states": [1]}
NAMES = {"name": "n", "state": "READY", "inner": {"name": "n"}, "states": ["READY"]}


@pytest.fixture
async def rest() -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway to a backend with enums in its responses."""
    strange = Strange()
    enum = strange.file.enum_type.add(name="State")
    enum.value.add(name="UNKNOWN", number=0)
    enum.value.add(name="READY", number=1)
    job = strange.message("Job", "name")
    kind = {"type": FieldDescriptorProto.TYPE_ENUM, "type_name": ".strange.State"}
    job.field.add(name="state", number=2, label=1, **kind)
    job.field.add(name="inner", number=3, label=1, type=11, type_name=".strange.Job")
    job.field.add(name="states", number=4, label=3, **kind)
    strange.method("GetJob", "strange.Job", "strange.Job", get="/v1/jobs/{name}:read")
    strange.method("Run", "strange.Job", "strange.Job", post="/v1/jobs:run", body="*")
    of_state = {"get": "/v1/jobs/{name}:state", "response_body": "state"}
    strange.method("GetState", "strange.Job", "strange.Job", **of_state)
    strange.method("Begin", "strange.Job", post="/v1/jobs:begin", body="*")
    packed = any_pb2.Any(type_url="x/strange.Job", value=READY)
    operation = operations_pb2.Operation(name="jobs/1", done=True, response=packed)
    methods = {f"strange.Strange/{name}": answering(READY) for name in ("GetJob", "Run")}
    methods["strange.Strange/GetState"] = answering(b"")
    methods["strange.Strange/Begin"] = answering(operation)
    async with (
        ContraryBackend.open(
            {}, methods=methods, pool=strange.pool(), reflection_versions=("v1",)
        ) as backend,
        serving({"name": "b", "target": backend.target, "methods": ["*"]}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        yield client


@pytest.mark.parametrize(
    "parameter", ["$alt=json;enum-encoding=int", "%24alt=json%3Benum-encoding%3Dint"]
)
async def test_enums_of_plain_methods_and_of_starts_are_numbers(
    rest: httpx.AsyncClient, parameter: str
) -> None:
    """Google's REST clients send the parameter with every call, also with a body."""
    assert (await rest.get(f"/v1/jobs/n:read?{parameter}")).json() == NUMBERS
    assert (await rest.get("/v1/jobs/n:read?alt=json")).json() == NAMES
    assert (await rest.post(f"/v1/jobs:run?{parameter}", json={"name": "n"})).json() == NUMBERS
    assert (await rest.get(f"/v1/jobs/n:state?{parameter}")).json() == 0
    assert (await rest.get("/v1/jobs/n:state")).json() == "UNKNOWN"
    begun = (await rest.post(f"/v1/jobs:begin?{parameter}", json={})).json()
    assert begun["response"] == {"@type": "x/strange.Job", **NUMBERS}
    head = await rest.head(f"/v1/jobs/n:read?{parameter}")
    same = await rest.get(f"/v1/jobs/n:read?{parameter}")
    assert head.headers["content-length"] == str(len(same.content))


async def test_the_document_has_the_parameter_for_every_method(rest: httpx.AsyncClient) -> None:
    """It has an effect on every JSON response."""
    paths = (await rest.get("/openapi.json")).json()["paths"]
    (reading,) = (item["get"] for path, item in paths.items() if path.endswith(":read"))
    assert {"$ref": "#/components/parameters/alt"} in reading["parameters"]
