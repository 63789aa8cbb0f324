"""Shutdown: everything that waits ends when the gateway stops."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from google.longrunning import operations_pb2

from lro_gateway.errors import Code, StatusError
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.shutdown import Shutdown, UntilShutdown, shutting_down
from lro_gateway.service.verb_requests import NameRequest, WaitRequest
from tests.contrary import ContraryBackend, answering
from tests.gateways import service_of

RUNNING = operations_pb2.Operation(name="jobs/1")


async def test_every_wait_for_the_shutdown_ends_when_it_begins() -> None:
    """A wait that starts later ends at once."""
    shutdown = Shutdown()
    waiting = [asyncio.create_task(shutdown.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert (shutdown.has_begun, [each.done() for each in waiting]) == (False, [False] * 3)
    shutdown.begin()
    await asyncio.gather(*waiting, shutdown.wait())
    assert shutdown.has_begun


async def test_a_context_until_the_shutdown_ends_when_it_begins() -> None:
    """A context that begins later ends soon, and one that has ended already is spared."""
    shutdown, never = Shutdown(), asyncio.Event()

    async def work() -> str:
        with UntilShutdown(shutdown):
            await never.wait()
        await asyncio.sleep(0)
        return "went on"

    with UntilShutdown(shutdown):
        await asyncio.sleep(0)
    working = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(0)
    shutdown.begin()
    assert await asyncio.gather(*working, work()) == ["went on"] * 4
    with pytest.raises(ZeroDivisionError), UntilShutdown(shutdown):
        raise ZeroDivisionError


def test_the_error_describes_the_state_of_the_work() -> None:
    """Its code is UNAVAILABLE, so that clients call another replica."""
    error = shutting_down("the operation goes on, so call again", {"name": "jobs/1"})
    assert (error.code, error.message, error.details_json()) == (
        Code.UNAVAILABLE,
        "the gateway is shutting down; the operation goes on, so call again",
        [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "GATEWAY_SHUTTING_DOWN",
                "domain": "lro-gateway",
                "metadata": {"name": "jobs/1"},
            }
        ],
    )


async def test_waits_and_watches_end_when_the_gateway_begins_to_stop() -> None:
    """Each fails with UNAVAILABLE, while the backend's operation goes on."""
    async with (
        ContraryBackend.open({"GetOperation": answering(RUNNING)}) as backend,
        service_of(backend.target) as service,
        aclosing(service.watch(ANONYMOUS, NameRequest("jobs/1"))) as sightings,
    ):
        await anext(sightings)
        wait = asyncio.create_task(service.wait(ANONYMOUS, WaitRequest("jobs/1")))
        await asyncio.sleep(0)
        service.close()
        with pytest.raises(StatusError) as of_watch:
            await anext(sightings)
        with pytest.raises(StatusError) as of_wait:
            await wait
    assert [caught.value.reason for caught in (of_watch, of_wait)] == ["GATEWAY_SHUTTING_DOWN"] * 2
