"""What the log knows of the code that writes to it."""

from __future__ import annotations

import asyncio

from lro_gateway.log_context import REQUEST_ID


async def test_a_task_keeps_the_id_of_its_creator() -> None:
    """A call that outlives its request still logs the id of the request."""

    async def current() -> str | None:
        return REQUEST_ID.get()

    assert await current() is None
    token = REQUEST_ID.set("r1")
    task = asyncio.create_task(current())
    REQUEST_ID.reset(token)
    assert (await task, REQUEST_ID.get()) == ("r1", None)
