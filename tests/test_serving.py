"""Serving over HTTP: listening, and stopping."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from google.longrunning import operations_pb2

from tests.contrary import Answer, ContraryBackend, answering
from tests.gateways import FACES, FaceName, RefusedError, face, serving

RUNNING = operations_pb2.Operation(name="jobs/1")


@pytest.mark.parametrize("kind", FACES)
async def test_a_wait_ends_when_the_gateway_stops_and_says_so(kind: FaceName) -> None:
    """Nobody is kept waiting by a gateway that is asked to stop, and nobody gets plain text."""
    waiting = asyncio.Event()

    async def wait_forever(_request: object, _context: object) -> Answer:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable: nothing sets the event")

    handlers = {"GetOperation": answering(RUNNING), "WaitOperation": wait_forever}
    async with ContraryBackend.open(handlers) as backend:
        gateway = serving({"name": "b", "target": backend.target})
        url = await gateway.__aenter__()
        async with face(kind, url) as client:
            call = asyncio.create_task(client.wait("jobs/1"))
            await waiting.wait()
            async with asyncio.timeout(4):
                stopping = asyncio.create_task(gateway.__aexit__(None, None, None))
                with pytest.raises(RefusedError) as caught:
                    await call
        await stopping
    assert (caught.value.status, caught.value.reason) == ("UNAVAILABLE", "GATEWAY_SHUTTING_DOWN")


async def test_an_address_that_is_taken_is_an_error_of_the_operating_system() -> None:
    """Two gateways on one port: the second does not start, the first does not notice."""
    async with serving() as url:
        port = httpx.URL(url).port
        with pytest.raises(OSError, match="in use"):
            async with serving(port=port):
                pytest.fail("it started")
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/livez")).json() == {"status": "ok"}
