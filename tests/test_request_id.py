"""The id of the request for which code runs."""

from __future__ import annotations

import asyncio

from lro_gateway.request_id import REQUEST_ID


async def test_a_task_keeps_the_id_of_its_creator() -> None:
    """A call that outlives its request still logs the id of the request."""

    async def current() -> str | None:
        return REQUEST_ID.get()

    assert await current() is None
    token = REQUEST_ID.set("r1")
    task = asyncio.create_task(current())
    REQUEST_ID.reset(token)
    assert (await task, REQUEST_ID.get()) == ("r1", None)
