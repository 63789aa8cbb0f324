"""Answers are sent in one piece, unless they are large or must be sent at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from google.longrunning import operations_pb2

from tests.contrary import ContraryBackend, answering
from tests.serving.wires import HOST, LIVEZ, Wire, limited

WATCH = b"GET /v1/jobs/1:watch HTTP/1.1\r\n" + HOST + b"\r\n"
LIST = b"GET /v1/operations HTTP/1.0\r\n" + HOST + b"\r\n"


async def test_a_short_answer_arrives_in_one_piece(tmp_path: Path) -> None:
    """Its head and its body are sent by one call of the system."""
    async with limited(tmp_path) as gateway:
        wire = await Wire.open(gateway)
        for _ in range(20):
            wire.writer.write(LIVEZ)
            assert (await wire.reader.read(65536)).endswith(b'"ok"\n}\n')
        wire.close()


async def test_the_parts_of_a_stream_and_large_answers_are_sent_as_they_come(
    tmp_path: Path,
) -> None:
    """An answer that ends its connection is sent before the end."""
    running = operations_pb2.Operation(name="jobs/1")
    many = [operations_pb2.Operation(name=f"jobs/{number:04}") for number in range(5000)]
    handlers = {
        "GetOperation": answering(running),
        "ListOperations": answering(operations_pb2.ListOperationsResponse(operations=many)),
    }
    async with (
        ContraryBackend.open(handlers) as backend,
        limited(tmp_path, backend.target) as gateway,
    ):
        watch = await Wire.open(gateway, WATCH)
        async with asyncio.timeout(60):
            await watch.reader.readuntil(b"event: operation")
        watch.close()
        large = await (await Wire.open(gateway, LIST)).end()
        assert large.count(b'"name": "jobs/') == len(many)
        assert large.endswith(b"]\n}\n")
