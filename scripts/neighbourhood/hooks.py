"""A gateway that is killed while it delivers webhooks, and started again: nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import sqlalchemy as sa

from lro_gateway.records.database import Database
from lro_gateway.records.event_schema import DELIVERIES
from lro_gateway.records.location import Location
from scripts.neighbourhood.findings import Findings
from scripts.neighbourhood.replicas import Replica, config, new_key
from scripts.neighbourhood.work import PATH, Receiver, Work
from tests.postgresql import postgresql

_SPREAD: Final = 5.0
"""Seconds over which the operations end."""
_PAUSE: Final = 0.05
"""Seconds that the receiver takes for an answer, so that some deliveries are under way."""
_KILLED_AFTER: Final = 0.4
"""The part of the deliveries after which the gateway is killed."""
_AT_A_TIME: Final = 20
_LIMIT: Final = 60.0
_LONG: Final = 3600.0


async def kill_in_the_middle(number: int, findings: Findings) -> None:
    """Register so many webhooks on each database, and kill the gateway while it delivers."""
    with tempfile.TemporaryDirectory(prefix="lro-gateway-hooks-") as directory:
        await kill_once(f"sqlite:///{directory}/store.sqlite3", Path(directory), number, findings)
        with postgresql(is_durable=True) as server:
            await kill_once(server.create_database(), Path(directory), number, findings)


async def kill_once(url: str, directory: Path, number: int, findings: Findings) -> None:
    """Register so many webhooks, kill the gateway while it delivers, and start it again."""
    kind = url.partition(":")[0]
    async with _running(url, directory) as (work, receiver, gateway):
        wanted = await _registered(gateway, work, receiver, number)
        begin = time.monotonic()
        work.end({name: begin + _SPREAD * at / number for at, name in enumerate(work.ends)})
        await _until(receiver, int(number * _KILLED_AFTER))
        await gateway.end(signal.SIGKILL)
        flying = await _pending(url)
        findings.counts[f"{kind}: deliveries in flight at the kill"] = len(flying)
        await gateway.start()
        with suppress(TimeoutError):
            await _until(receiver, number)
        twice = {event for (_, event), count in receiver.counts.items() if count > 1}
    lost = wanted - receiver.ended.keys()
    findings.counts[f"{kind}: webhooks"] = number
    findings.counts[f"{kind}: lost (goal 0)"] = len(lost)
    findings.counts[f"{kind}: duplicates (goal: only of those in flight)"] = receiver.duplicates
    for each in sorted(lost):
        findings.violate("no event is lost", each)
    for each in sorted(twice - flying):
        findings.violate("only what was in flight comes again", each)


@asynccontextmanager
async def _running(url: str, directory: Path) -> AsyncIterator[tuple[Work, Receiver, Replica]]:
    work, receiver = Work(waits=True), Receiver(pause=_PAUSE)
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(work.open(0))
        await stack.enter_async_context(receiver.open())
        gateway = Replica(0, directory, config(url, target, new_key(directory)))
        await gateway.start()
        try:
            yield work, receiver, gateway
        finally:
            await gateway.end(signal.SIGKILL)


async def _registered(gateway: Replica, work: Work, receiver: Receiver, number: int) -> set[str]:
    """Make a webhook of each of so many operations; return what must arrive."""
    work.ends = dict.fromkeys((f"{PATH}{each}" for each in range(number)), time.monotonic() + _LONG)
    places = asyncio.Semaphore(_AT_A_TIME)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=_LIMIT) as client:

        async def register(name: str) -> None:
            async with places:
                body = {"url": f"{receiver.url}/hook"}
                answer = await client.post(f"/v1/{name}:notify", json=body)
                answer.raise_for_status()

        await asyncio.gather(*(register(each) for each in work.ends))
    return {f"/hook {each}" for each in work.ends}


async def _until(receiver: Receiver, number: int) -> None:
    async with asyncio.timeout(_LIMIT):
        while len(receiver.ended) < number:  # noqa: ASYNC110 - the receiver counts for all runs
            await asyncio.sleep(0.01)


async def _pending(url: str) -> set[str]:
    """Return the events of which a delivery has begun, and has no outcome."""
    database = Database(Location.parse(url))
    query = sa.select(DELIVERIES.c.event).where(DELIVERIES.c.state == "pending")
    try:
        return await database.read(lambda found: set(found.execute(query).scalars()))
    finally:
        await database.close()
