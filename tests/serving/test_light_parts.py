"""The light parts of a connection do what those of uvicorn do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from uvicorn.protocols.http.flow_control import FlowControl

from lro_gateway.serving.light_parts import ClientEvent, LightEvent, LightPipeline
from tests.contrary import Answer, ContraryBackend
from tests.serving.wires import HOST, LIVEZ, Wire, limited

pytestmark = pytest.mark.anyio

WATCH = b"GET /v1/jobs/1:watch HTTP/1.1\r\n" + HOST + b"\r\n"


async def test_an_event_wakes_all_that_wait_until_it_is_cleared() -> None:
    """A task that no longer waits is forgotten."""
    event = LightEvent()
    first, second, cancelled = (asyncio.ensure_future(event.wait()) for _ in range(3))
    await asyncio.sleep(0)
    cancelled.cancel()
    event.set()
    event.set()
    assert [await first, await second, event.is_set()] == [True, True, True]
    assert await event.wait()
    assert cancelled.cancelled()
    event.clear()
    later = asyncio.ensure_future(event.wait())
    await asyncio.sleep(0)
    assert [later.done(), event.is_set()] == [False, False]
    event.set()
    assert await later


class Reading(FlowControl):
    """A flow that counts how often it resumes."""

    def __init__(self) -> None:
        self.resumed = 0

    def resume_reading(self) -> None:
        """Count."""
        self.resumed += 1


async def test_an_event_of_a_client_tells_one_function_when_the_client_leaves() -> None:
    """It then also wakes those that wait. Until then the connection is read, and no body kept."""
    flow, told = Reading(), list[str]()
    event = ClientEvent(flow)
    assert event.keeps_body
    event.when_left(lambda: told.append("first"))
    event.when_left(lambda: told.append("second"))
    waiting = asyncio.ensure_future(event.wait())
    assert (event.keeps_body, flow.resumed) == (False, 2)
    event.set()
    assert await waiting
    assert not told
    event.leave()
    event.when_left(None)
    event.leave()
    assert (event.keeps_body, flow.resumed, told) == (True, 2, ["second"])


async def test_who_asks_after_a_client_has_left_is_told_soon() -> None:
    """The function is not called before the one who asks has gone on."""
    event, told = ClientEvent(Reading()), asyncio.Event()
    event.leave()
    event.when_left(told.set)
    assert not told.is_set()
    await told.wait()


async def test_the_rest_of_a_body_that_nobody_reads_hides_no_end_of_its_client(
    tmp_path: Path,
) -> None:
    """A stream begins before the body has arrived, which is larger than what is kept of one."""
    waiting, left = asyncio.Event(), asyncio.Event()
    operation: Any = operations_pb2.Operation(name="jobs/1")

    async def get(_request: Any, _context: Any) -> Answer:
        state: Answer = operation
        return state

    async def wait(_request: Any, _context: Any) -> Answer:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError("unreachable: nothing sets the event")

    size = 500_000
    with_body = WATCH[:-2] + b"Content-Length: %d\r\n\r\n" % size
    async with (
        asyncio.timeout(60),
        ContraryBackend.open({"GetOperation": get, "WaitOperation": wait}) as backend,
        limited(tmp_path, backend.target) as gateway,
    ):
        stream = await Wire.open(gateway, with_body)
        await stream.reader.readuntil(b"event: operation")
        stream.writer.write(b" " * size)
        await stream.writer.drain()
        await waiting.wait()
        stream.close()
        await left.wait()


def test_a_pipeline_gives_requests_in_the_order_of_their_arrival() -> None:
    """It is filled at its begin and emptied at its end, as uvicorn does."""
    pipeline = LightPipeline()
    for request in (1, 2, 3):
        pipeline.appendleft(request)
    assert [pipeline.pop() for _ in range(3)] == [1, 2, 3]
    assert not pipeline


async def test_a_request_behind_a_long_stream_is_answered_after_it(tmp_path: Path) -> None:
    """Meanwhile the connection has no parser, because none is needed between two requests."""
    operation: Any = operations_pb2.Operation(name="jobs/1")

    async def answer(_request: Any, _context: Any) -> Answer:
        state: Answer = operation
        return state

    async with (
        ContraryBackend.open({"GetOperation": answer}) as backend,
        limited(tmp_path, backend.target, header_timeout="4s") as gateway,
    ):
        stream, idle = await Wire.open(gateway, WATCH), await Wire.open(gateway)
        async with asyncio.timeout(60):
            await stream.reader.readuntil(b"event: operation")
            # The same look at all connections that closes this one drops the parser of the other.
            await idle.end()
            for part in (LIVEZ[:9], LIVEZ[9:]):
                stream.writer.write(part)
                await stream.writer.drain()
            operation.done = True
            await stream.reader.readuntil(b"\r\n0\r\n\r\n")
            assert (await stream.answer())[0] == 200
        stream.close()
