"""The memory of the process that users run, after large answers of a backend."""

from __future__ import annotations

from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import any_pb2, struct_pb2
from google.rpc import status_pb2

from tests.contrary import Answer, ContraryBackend
from tests.serving.one_process import one_process

PRESENTATIONS = (
    "",
    "$alt=json;enum-encoding=int",
    "prettyPrint=false",
    "prettyPrint=false&$alt=json;enum-encoding=int",
)
NEAR = 20.0
"""MB."""


async def large(request: Any, _context: Any) -> Answer:
    """Answer with 16,000 Anys of a known type, or with two million empty messages."""
    packed = any_pb2.Any()
    packed.Pack(struct_pb2.ListValue())
    item: bytes = status_pb2.Status(details=[packed]).SerializeToString()
    content = item * 16_000 if request.name.endswith("known") else b"\x1a\x00" * (2 * 2**20 - 100)
    payload = any_pb2.Any(type_url="type.googleapis.com/google.rpc.Status", value=content)
    answer: Answer = operations_pb2.Operation(name=request.name, done=True, response=payload)
    return answer


async def running(request: Any, _context: Any) -> Answer:
    """Answer with an operation that is never done."""
    answer: Answer = operations_pb2.Operation(name=request.name)
    return answer


async def test_the_memory_for_large_answers_is_returned_within_a_minute() -> None:
    """Eight done operations of each kind are read in four presentations."""
    async with (
        ContraryBackend.open({"GetOperation": large}) as hostile,
        ContraryBackend.open({"GetOperation": running}) as other,
        one_process(hostile=hostile.target, other=other.target) as process,
    ):
        for _ in range(100):
            await process.get("other", "jobs/1")
        start = process.memory
        for number in range(8):
            for kind in ("known", "unread"):
                for presentation in PRESENTATIONS:
                    response = await process.get("hostile", f"{number}/{kind}", presentation)
                    assert response.status_code == 200
        for _ in range(10):
            # The wait for another operation lets the time pass.
            await process.client.post(
                "/v1/-:wait", json={"name": "//other/jobs/2", "timeout": "5s"}
            )
            if process.memory < start + NEAR:
                break
        assert process.memory < start + NEAR
