"""Chapter 3: wait for an operation.

Asking again and again costs calls, and an agent tokens. A wait is one call that answers when the
operation is done. If its time is up before, that is no error: it answers with the latest state, and
whoever still wants to know waits again.
"""

from __future__ import annotations

import asyncio

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client as Owner
from tests.gateways import Face

WAIT = "/google.longrunning.Operations/WaitOperation"


async def test_a_wait_ends_when_the_operation_does(
    owner: Owner, gate: Gate, service: DemoServer, rest: Face
) -> None:
    """It is under way while the operation runs, and answers with what came of it."""
    async with gate:
        started = await owner.begin("orders")
        waiting = asyncio.create_task(rest.wait(started.name))
        while not service.rpc_counts[WAIT]:
            # Until the wait has reached the service, at which the operation is held.
            await rest.get(started.name)
        assert not waiting.done()

    operation = await waiting

    assert operation["done"] is True
    assert operation["response"]["name"] == "databases/orders"


async def test_a_wait_whose_time_is_up_answers_with_the_latest_state(
    owner: Owner, gate: Gate, rest: Face
) -> None:
    """A timeout is a length of time, such as 0.1 s."""
    async with gate:
        started = await owner.begin("orders")

        operation = await rest.wait(started.name, timeout="0.1s")

    assert operation["name"] == started.name
    assert operation["done"] is False


async def test_a_wait_for_what_is_done_answers_at_once(owner: Owner, rest: Face) -> None:
    """There is nothing to wait for."""
    created = await owner.create("orders")

    assert await rest.wait(created.name) == await rest.get(created.name)
