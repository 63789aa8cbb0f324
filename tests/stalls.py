"""A gateway in a process of its own, and how much it computes while a `/livez` waits."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.commands.test_cli import COMMAND

_ADDRESS = re.compile(r"REST (http://\S+)/v1")
_TIME_LIMIT = 60
"""Seconds in which the gateway must listen."""
_PROBE = """
import http.client, sys, threading, time
asked = threading.Event()
def listen():
    for line in sys.stdin:
        asked.set()
threading.Thread(target=listen, daemon=True).start()
connection = http.client.HTTPConnection(sys.argv[1], timeout=60)
# The clock of the processor time of another process, as clock_getcpuclockid(3) returns it.
clock = ~int(sys.argv[2]) << 3 | 2
def probe():
    began = time.clock_gettime(clock)
    connection.request("GET", "/livez")
    assert connection.getresponse().read()
    return time.clock_gettime(clock) - began
probe()
while asked.wait():
    asked.clear()
    longest = probe()
    print("begun", flush=True)
    while not asked.wait(0.002):
        longest = max(longest, probe())
    asked.clear()
    print(max(longest, probe()), flush=True)
"""


@dataclass
class GatewayProcess:
    """A running `lro-gateway serve`: its URL, its process, and the lines of its log so far."""

    url: str
    pid: int
    log: list[str] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def logged(self, text: str) -> None:
        """Wait until the log has a text."""
        async with asyncio.timeout(_TIME_LIMIT):
            while text not in "".join(self.log):
                self._more.clear()
                await self._more.wait()

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read the log until the process ends."""
        while line := await stream.readline():
            self.log.append(line.decode())
            self._more.set()


@asynccontextmanager
async def gateway_process(
    directory: Path,
    *backends: Mapping[str, Any],
    server: Mapping[str, Any] | None = None,
    mcp: Mapping[str, Any] | None = None,
) -> AsyncIterator[GatewayProcess]:
    """Run `lro-gateway serve` with these tables of the configuration until the context ends."""
    path = directory / "gateway.toml"
    tables = [("[server]", {"port": 0, **(server or {})}), ("[mcp]", mcp or {})]
    tables += [("[[backends]]", dict(backend)) for backend in backends]
    # JSON and TOML have the same syntax for strings, numbers and lists of them.
    path.write_text(
        "\n".join(
            "\n".join([name, *(f"{key} = {json.dumps(value)}" for key, value in table.items())])
            for name, table in tables
        )
    )
    child = await asyncio.create_subprocess_exec(
        COMMAND, "serve", "--config", str(path), stderr=asyncio.subprocess.PIPE
    )
    assert child.stderr is not None
    log: list[str] = []
    try:
        async with asyncio.timeout(_TIME_LIMIT):
            while (found := _ADDRESS.search("".join(log))) is None:
                line = (await child.stderr.readline()).decode()
                assert line, log
                log.append(line)
        gateway = GatewayProcess(found[1], child.pid, log)
        reading = asyncio.create_task(gateway.read(child.stderr))
        yield gateway
        reading.cancel()
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@dataclass
class Probe:
    """Calls `/livez` again and again, from another process, while a test asks for it."""

    _process: asyncio.subprocess.Process

    async def begin(self) -> None:
        """Begin with the calls."""
        assert await self._told() == b"begun\n"

    async def longest(self) -> float:
        """End the calls; return how long the gateway has computed at most until an answer.

        These are seconds of processor time of all its threads, from the request to the answer. What
        else the machine does at the time does not count.
        """
        return float(await self._told())

    async def _told(self) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return await self._process.stdout.readline()


@asynccontextmanager
async def probing(url: str, pid: int) -> AsyncIterator[Probe]:
    """Start a probe of a process, which ends with the context."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROBE, url.removeprefix("http://"), str(pid)),
        stdin=pipe,
        stdout=pipe,
    )
    try:
        yield Probe(process)
    finally:
        process.kill()
        await process.wait()


@dataclass
class Stalls:
    """The longest time of `/livez` as `Probe` measures it. It is known when the context ends."""

    longest: float = 0.0


@asynccontextmanager
async def stalls(gateway: GatewayProcess) -> AsyncIterator[Stalls]:
    """Call `/livez` until the context ends."""
    found = Stalls()
    async with probing(gateway.url, gateway.pid) as probe:
        await probe.begin()
        yield found
        found.longest = await probe.longest()
