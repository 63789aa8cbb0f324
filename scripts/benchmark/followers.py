"""A program: a gateway without faces, in which any number of operations are watched."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import aclosing

import uvloop

from lro_gateway.config import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest
from scripts.benchmark.jobs import operation_name
from scripts.benchmark.lines import Message, answer_lines, say


class Followers:
    """Readers of watches, one for each operation."""

    def __init__(self, service: OperationService, group: asyncio.TaskGroup) -> None:
        self._service = service
        self._group = group
        self._tasks: list[asyncio.Task[None]] = []
        self._begun = 0
        self._progress = asyncio.Event()

    async def follow(self, operations: int, within: float) -> None:
        """Begin with so many within so many seconds, evenly; return once all have seen a state."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(operations):
            await asyncio.sleep(max(0.0, begin + number * within / operations - loop.time()))
            self._tasks.append(self._group.create_task(self._read(number)))
        while self._begun < len(self._tasks):
            self._progress.clear()
            await self._progress.wait()

    async def _read(self, number: int) -> None:
        request = NameRequest(operation_name(number))
        async with aclosing(self._service.watch(ANONYMOUS, request)) as sightings:
            await anext(sightings)
            self._begun += 1
            self._progress.set()
            async for _ in sightings:
                pass

    async def leave(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._begun = 0


async def main(target: str, interval: str) -> None:
    """Watch as many operations as each line orders, in place of those before."""
    backend = {
        "name": "backend",
        "target": target,
        "poll_intervals": ["1s", "5s", interval],
        # More than all of them take on their cadence.
        "polls_per_second": 1000,
    }
    config = GatewayConfig.model_validate({"backends": [backend]})
    async with Gateway.open(config) as gateway, asyncio.TaskGroup() as group:
        followers = Followers(gateway.service, group)

        async def follow(order: Message) -> Message:
            await followers.leave()
            await followers.follow(order["operations"], order["within"])
            return {}

        say({"ready": True})
        await answer_lines(follow)
        await followers.leave()


if __name__ == "__main__":
    # That it has no key to seal with is no news here.
    logging.getLogger("lro_gateway").setLevel(logging.ERROR)
    uvloop.run(main(*sys.argv[1:]))
