"""Chapter 3: wait for an operation.

A caller that polls an operation makes many calls, which cost an agent tokens. A wait is one call
that answers when the operation is done. If the timeout of the wait passes first, the wait answers
with the latest state instead of an error, and the caller can wait again.
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
    """The wait lasts while the operation runs, and answers with the finished operation."""
    async with gate:
        started = await owner.begin("orders")
        waiting = asyncio.create_task(rest.wait(started.name))
        while not service.rpc_counts[WAIT]:
            # Reads let the wait reach the service, where the gate stops the operation.
            await rest.get(started.name)
        assert not waiting.done()

    operation = await waiting

    assert operation["done"] is True
    assert operation["response"]["name"] == "databases/orders"


async def test_a_wait_whose_timeout_passes_answers_with_the_latest_state(
    owner: Owner, gate: Gate, rest: Face
) -> None:
    """The timeout is a duration as a string, such as "0.1s"."""
    async with gate:
        started = await owner.begin("orders")

        operation = await rest.wait(started.name, timeout="0.1s")

    assert operation["name"] == started.name
    assert operation["done"] is False


async def test_a_wait_for_an_operation_that_is_done_answers_at_once(
    owner: Owner, rest: Face
) -> None:
    """The wait returns the operation that `get` returns."""
    created = await owner.create("orders")

    assert await rest.wait(created.name) == await rest.get(created.name)
