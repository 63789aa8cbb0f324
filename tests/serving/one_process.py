"""A gateway of one process, run as a user runs it, and the memory and the lag of that process."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.stalls import Probe, probing

_T = TypeVar("_T")

COMMAND = Path(sys.executable).with_name("lro-gateway")
_ADDRESS = re.compile(r"REST (http://[^/]+)/v1")
_TIME_LIMIT = 90.0


@dataclass
class Process:
    """A running gateway, with a client for requests and a probe."""

    pid: int
    client: httpx.AsyncClient
    probe: Probe

    @property
    def memory(self) -> float:
        """The resident memory in MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    async def get(self, backend: str, name: str, query: str = "") -> Any:
        """Get an operation of a backend over REST."""
        return await self.client.get(f"/v1/-?name=//{backend}/{name}&{query}")

    async def lag_during(self, work: Awaitable[_T]) -> tuple[_T, float]:
        """Return the result of work, and the longest time of `/livez` meanwhile."""
        await self.probe.begin()
        return await work, await self.probe.longest()


@asynccontextmanager
async def one_process(**targets: str) -> AsyncIterator[Process]:
    """Run `lro-gateway serve` in front of backends, which are given by their names."""
    options = [
        text for name, target in targets.items() for text in ("--backend", f"{name}={target}")
    ]
    process = await asyncio.create_subprocess_exec(
        COMMAND, "serve", *options, "--port", "0", stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_TIME_LIMIT):
            while (found := _ADDRESS.search((await process.stderr.readline()).decode())) is None:
                assert process.returncode is None
        # A full pipe would stop the gateway.
        rest = asyncio.create_task(process.stderr.read())
        async with (
            httpx.AsyncClient(base_url=found[1], timeout=60) as client,
            probing(found[1], process.pid) as probe,
        ):
            yield Process(process.pid, client, probe)
        process.terminate()
        await rest
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
