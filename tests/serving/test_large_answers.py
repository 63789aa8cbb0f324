"""Large legal answers of a backend, in front of the process that users run.

The lag is how long the gateway computes at most until it has answered a `/livez` meanwhile. Without
the limits, the lag was seconds.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, field_mask_pb2, struct_pb2
from google.rpc import status_pb2

from tests.contrary import Answer, ContraryBackend, answering
from tests.serving.one_process import Process, one_process

LAG = 0.5
"""Seconds of computing after which each request to another backend must be answered."""
ROOM = 4 * 2**20 - 500
"""The size of a payload in bytes, which leaves room in an answer of 4 MiB."""
FORMS = ("", "$alt=json;enum-encoding=int", "prettyPrint=false", "fields=name,response")
TOO_MANY = "it has more than 50000 elements, the limit of max_message_elements of its backend"


def filled(item: bytes, size: int = ROOM) -> bytes:
    """Return the bytes of a repeated field, which has this item as often as it fits."""
    return item * (size // len(item))


def any_of(kind: Any, content: bytes) -> any_pb2.Any:
    """Return an Any with bytes of a message type."""
    return any_pb2.Any(type_url=f"type.googleapis.com/{kind.DESCRIPTOR.full_name}", value=content)


def items(message: Any) -> bytes:
    """Return the bytes of a message that has one item of a repeated field."""
    content: bytes = message.SerializeToString()
    return content


ANY = any_pb2.Any(type_url="x/y.Z")
NUMBER = struct_pb2.Value(number_value=1)
LISTED = any_of(struct_pb2.ListValue, b"")
ENTRY = items(struct_pb2.Struct(fields={"k": struct_pb2.Value()}))
HOLDING = any_of(status_pb2.Status, filled(items(status_pb2.Status(details=[ANY])), ROOM - 100))
PAYLOADS: Mapping[str, any_pb2.Any] = {
    "empty-messages": any_of(status_pb2.Status, filled(b"\x1a\x00")),
    "anys": any_of(status_pb2.Status, filled(items(status_pb2.Status(details=[ANY])))),
    "known-anys": any_of(status_pb2.Status, filled(items(status_pb2.Status(details=[LISTED])))),
    "anys-in-an-any": any_of(status_pb2.Status, items(status_pb2.Status(details=[HOLDING]))),
    "numbers": any_of(struct_pb2.ListValue, filled(items(struct_pb2.ListValue(values=[NUMBER])))),
    "short-texts": any_of(field_mask_pb2.FieldMask, filled(b"\x0a\x01a")),
    "map-entries": any_of(struct_pb2.Struct, filled(ENTRY)),
    "unknown-fields": any_of(struct_pb2.ListValue, filled(b"\xf8\x07\x01")),
    "control-characters": any_of(
        struct_pb2.Value, items(struct_pb2.Value(string_value="\x01" * ROOM))
    ),
}
UNDER: Mapping[str, any_pb2.Any] = {
    "allowed-numbers": any_of(
        struct_pb2.ListValue, items(struct_pb2.ListValue(values=[NUMBER])) * 24_000
    ),
    "allowed-anys": any_of(status_pb2.Status, items(status_pb2.Status(details=[LISTED])) * 16_000),
    "a-text": any_of(struct_pb2.Value, items(struct_pb2.Value(string_value='"\n' * (ROOM // 2)))),
    "bytes": any_pb2.Any(type_url="x/y.Z", value=bytes(ROOM)),
}


async def get(request: Any, _context: Any) -> Answer:
    """Answer with the payload that the name ends with. A `running` one changes at each call."""
    state, kind, *_ = request.name.split("/")
    operation: Any = operations_pb2.Operation(name=request.name, done=state == "done")
    payload = (operation.response, operation.metadata)[state == "running"]
    payload.CopyFrom({**PAYLOADS, **UNDER}[kind])
    if state == "running":
        payload.type_url = f"{time.monotonic()}/{payload.type_url.rpartition('/')[2]}"
    answer: Answer = operation
    return answer


async def list_operations(_request: Any, _context: Any) -> Answer:
    """Answer with a page of 100,000 operations."""
    return items(operations_pb2.ListOperationsResponse(operations=[{"name": "a"}])) * 100_000


@asynccontextmanager
async def attacked() -> AsyncIterator[Process]:
    """Run a gateway in front of two backends: `hostile` has large answers, and `other` none."""
    small = answering(operations_pb2.Operation(name="jobs/1"))
    handlers = {"GetOperation": get, "WaitOperation": get, "ListOperations": list_operations}
    async with (
        ContraryBackend.open(handlers) as hostile,
        ContraryBackend.open({"GetOperation": small}) as other,
        one_process(hostile=hostile.target, other=other.target) as process,
    ):
        yield process


@pytest.fixture(scope="module")
async def process() -> AsyncIterator[Process]:
    """Run one gateway for the tests that do not look at its memory."""
    async with attacked() as running:
        yield running


@pytest.mark.parametrize("kind", PAYLOADS)
async def test_a_payload_with_too_many_elements_is_lossless_and_delays_nobody(
    process: Process, kind: str
) -> None:
    """The operation has its name, and the payload its bytes and the reason."""
    for form in FORMS:
        response, lag = await process.lag_during(process.get("hostile", f"done/{kind}", form))
        answer = response.json()
        assert answer["name"] == f"//hostile/done/{kind}"
        assert TOO_MANY in response.text
        assert lag < LAG


@pytest.mark.parametrize("kind", UNDER)
async def test_a_payload_under_the_limit_delays_nobody(process: Process, kind: str) -> None:
    """It is printed in a thread."""
    for form in FORMS:
        response, lag = await process.lag_during(process.get("hostile", f"done/{kind}", form))
        assert response.json()["name"] == f"//hostile/done/{kind}"
        assert TOO_MANY not in response.text
        assert lag < LAG


async def test_a_page_with_too_many_operations_is_refused(process: Process) -> None:
    """The error names the setting."""
    response, lag = await process.lag_during(process.client.get("/v1/operations?backend=hostile"))
    error = response.json()["error"]
    assert (response.status_code, error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["details"][0]["reason"] == "RESPONSE_TOO_LARGE"
    assert error["details"][0]["metadata"]["setting"] == "max_message_elements"
    assert lag < LAG


@pytest.mark.parametrize("kind", ["anys", "allowed-anys", "a-text"])
async def test_a_stream_of_large_states_does_not_delay_other_backends(
    process: Process, kind: str
) -> None:
    """Each event has a state that differs from the one before."""
    path = f"/v1/-:watch?name=//hostile/running/{kind}"
    async with process.client.stream("GET", path) as events:
        chunks = events.aiter_bytes()
        await anext(chunks)
        for _ in range(20):
            response, lag = await process.lag_during(process.get("other", "jobs/1"))
            assert response.json()["name"] == "//other/jobs/1"
            assert lag < LAG
