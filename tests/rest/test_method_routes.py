"""The routes of methods next to the routes of operations, and responses of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf import struct_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from tests.contrary import ContraryBackend, acknowledging, answering
from tests.gateways import serving
from tests.strange import Strange

JOB = operations_pb2.Operation(name="jobs/1", done=True)
OPERATIONS = {
    "GetOperation": answering(JOB),
    "CancelOperation": acknowledging(),
    "DeleteOperation": acknowledging(),
}
TRUE = "google.protobuf.BoolValue"


@asynccontextmanager
async def client(
    strange: Strange, answers: dict[str, Any], **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, ContraryBackend]]:
    """Open a client of a gateway whose backend has these methods; all of them are offered."""
    methods = {f"strange.Strange/{name}": answering(answer) for name, answer in answers.items()}
    async with (
        ContraryBackend.open(
            OPERATIONS, methods=methods, pool=strange.pool(), reflection_versions=("v1",)
        ) as backend,
        serving({"name": "b", "target": backend.target, "methods": ["*"], **settings}) as url,
        httpx.AsyncClient(base_url=url) as opened,
    ):
        yield opened, backend


def jobs() -> Strange:
    """Return methods whose paths are also the paths of operations that are named `jobs/*`."""
    strange = Strange()
    strange.message("Job", "name")
    strange.method("GetJob", "strange.Job", "strange.Job", get="/v1/{name=jobs/*}:read")
    strange.method("RunJob", "strange.Job", put="/v1/{name=jobs/*}")
    return strange


@pytest.mark.parametrize("settings", [{}, {"operations": ["jobs/*"]}], ids=["any", "declared"])
async def test_a_method_at_the_path_of_an_operation_does_not_replace_cancel_and_wait(
    settings: dict[str, Any],
) -> None:
    """The method has another HTTP verb or another custom verb than they have."""
    async with client(jobs(), {"GetJob": b"", "RunJob": JOB}, **settings) as (rest, backend):
        assert (await rest.put("/v1/jobs/1")).json()["name"] == "jobs/1"
        assert (await rest.post("/v1/jobs/1:cancel")).json() == {}
        assert (await rest.post("/v1/jobs/1:wait")).json() == {"name": "jobs/1", "done": True}
        assert backend.count("CancelOperation") == 1


async def test_a_start_or_a_wait_never_answers_304() -> None:
    """A 304 has no body, so the caller would not get the name of the operation that it started."""
    strange = jobs()
    strange.method("RestoreJob", "strange.Job", get="/v1/{name=jobs/*}:restore")
    answers = {"GetJob": b"", "RunJob": JOB, "RestoreJob": JOB}
    async with client(strange, answers) as (rest, _):
        started = await rest.put("/v1/jobs/1")
        for known in ("*", started.headers["etag"]):
            rest.headers["If-None-Match"] = known
            responses = [
                await rest.put("/v1/jobs/1"),
                await rest.get("/v1/jobs/1:restore"),
                await rest.post("/v1/jobs/1:wait"),
            ]
            assert [each.content for each in responses] == [started.content] * 3


async def test_an_operation_that_a_pattern_matches_is_read_if_no_method_answers_get() -> None:
    """Without a pattern, the gateway cannot know that the path names an operation."""
    answers = {"GetJob": b"", "RunJob": JOB}
    async with client(jobs(), answers, operations=["jobs/*"]) as (rest, backend):
        assert (await rest.get("/v1/jobs/1")).json() == {"name": "jobs/1", "done": True}
        assert (await rest.delete("/v1/jobs/1")).json() == {}
        assert backend.count("DeleteOperation") == 1
    async with client(jobs(), answers) as (rest, _):
        refused = await rest.get("/v1/jobs/1")
        assert (refused.status_code, refused.headers["allow"]) == (405, "PUT")


async def test_head_of_a_method_is_get_without_the_body() -> None:
    """RFC 9110 requires this of every resource."""
    strange = Strange()
    strange.message("Request", "name")
    strange.method("GetFlag", "strange.Request", TRUE, get="/v1/flags/{name}")
    answers = {"GetFlag": wrappers_pb2.BoolValue(value=True)}
    async with client(strange, answers) as (rest, _):
        head = await rest.head("/v1/flags/f")
        assert (head.status_code, head.content) == (200, b"")
        assert (await rest.post("/v1/flags/f")).headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        ("BoolValue", wrappers_pb2.BoolValue(), False),
        ("Int32Value", wrappers_pb2.Int32Value(), 0),
        ("StringValue", wrappers_pb2.StringValue(), ""),
        ("ListValue", struct_pb2.ListValue(), []),
        ("Value", struct_pb2.Value(null_value=struct_pb2.NULL_VALUE), None),
        ("Struct", struct_pb2.Struct(), {}),
    ],
)
async def test_an_empty_response_has_the_json_of_its_own_type(
    kind: str, answer: Any, expected: Any
) -> None:
    """ProtoJSON prints a wrapper as its bare value, such as `false` or `0`, not as `{}`."""
    strange = Strange()
    strange.message("Request", "name")
    strange.method("GetIt", "strange.Request", f"google.protobuf.{kind}", get="/v1/its/{name}")
    async with client(strange, {"GetIt": answer}) as (rest, _):
        assert (await rest.get("/v1/its/i")).json() == expected


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"post": "/livez", "body": "*"}, "the gateway's own page has this path"),
        ({"get": "/v1/its/{name}", "response_body": "values"}, "has no fields"),
    ],
)
async def test_a_route_that_can_never_answer_is_left_out_and_named_in_the_log(
    rule: dict[str, str], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator then sees why requests do not reach the method."""
    strange = Strange()
    strange.message("Request", "name")
    strange.method("GetIt", "strange.Request", "google.protobuf.ListValue", **rule)
    async with client(strange, {"GetIt": struct_pb2.ListValue()}) as (rest, _):
        assert (await rest.get("/v1/its/i")).json() == {"name": "jobs/1", "done": True}
        assert (await rest.post("/v1/strange.Strange/GetIt", json={})).json() == []
    assert any(problem in message for message in caplog.messages)


async def test_a_custom_verb_after_operations_calls_a_method() -> None:
    """`/v1/operations:purge` is not a path of google.longrunning.Operations."""
    strange = Strange()
    strange.message("Request", "name")
    strange.method("Purge", "strange.Request", TRUE, post="/v1/operations:purge")
    async with client(strange, {"Purge": wrappers_pb2.BoolValue(value=True)}) as (rest, _):
        assert (await rest.post("/v1/operations:purge")).json() is True


async def test_the_backend_is_chosen_once_and_apart_from_a_field_named_backend() -> None:
    """If the request has a field `backend`, the parameter `gateway_backend` chooses the backend."""
    strange = Strange()
    strange.message("Request", "name")
    strange.message("Clashing", "name").field[0].json_name = "backend"
    strange.method("Plain", "strange.Request", TRUE, post="/v1/plain", body="*")
    strange.method("Clash", "strange.Clashing", TRUE, post="/v1/clash")
    true = wrappers_pb2.BoolValue(value=True)
    async with client(strange, {"Plain": true, "Clash": true}) as (rest, backend):
        assert (await rest.post("/v1/plain?backend=b")).json() is True
        twice = (await rest.post("/v1/plain?backend=b&backend=c")).json()
        assert twice["error"]["message"] == "backend: is given twice; give it once"
        assert (await rest.post("/v1/clash?backend=mine&gateway_backend=b")).json() is True
        assert [c.request.name for c in backend.calls if c.method == "Clash"] == ["mine"]


async def test_a_number_that_no_double_holds_is_refused() -> None:
    """1e999 does not fit a double; ProtoJSON writes infinity as `Infinity`."""
    strange = Strange()
    strange.message("Request", "size").field[0].type = FieldDescriptorProto.TYPE_DOUBLE
    strange.method("Grow", "strange.Request", TRUE, post="/v1/grow")
    async with client(strange, {"Grow": wrappers_pb2.BoolValue(value=True)}) as (rest, _):
        assert (await rest.post("/v1/grow?size=1e308")).json() is True
        assert (await rest.post("/v1/grow?size=Infinity")).json() is True
        assert (await rest.post("/v1/grow?size=1e999")).status_code == 400


async def test_a_type_that_nests_deeper_than_pythons_stack_can_be_called() -> None:
    """The query sets a nested field before the gateway has built a message of the type."""
    strange = Strange()
    for index in range(3000):
        inner = strange.message(f"M{index}", "name").field.add(name="inner", number=2, label=1)
        inner.type = FieldDescriptorProto.TYPE_MESSAGE
        inner.type_name = f".strange.M{(index + 1) % 3000}"
    strange.method("Dive", "strange.M0", TRUE, post="/v1/dive")
    async with client(strange, {"Dive": wrappers_pb2.BoolValue(value=True)}) as (rest, backend):
        assert (await rest.post("/v1/dive?inner.name=n")).json() is True
        assert [c.request.inner.name for c in backend.calls if c.method == "Dive"] == ["n"]


async def test_get_of_the_mcp_endpoint_is_refused_at_once() -> None:
    """A stream on which nothing is ever sent would look like a hanging request."""
    async with client(Strange(), {}) as (rest, _):
        refused = await rest.get("/mcp")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
