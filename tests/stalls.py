"""A gateway in a process of its own, and the longest time that its `/livez` takes meanwhile."""

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
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
connection = http.client.HTTPConnection(sys.argv[1], timeout=60)
longest = 0.0
while not ended.wait(0.002):
    began = time.perf_counter()
    connection.request("GET", "/livez")
    assert connection.getresponse().read()
    if not longest:
        print("ready", flush=True)
    longest = max(longest, time.perf_counter() - began)
print(longest)
"""


@dataclass
class GatewayProcess:
    """A running `lro-gateway serve`: its URL, and the lines of its log so far."""

    url: str
    log: list[str] = field(default_factory=list)


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
        reading = asyncio.create_task(_read(child.stderr, log))
        yield GatewayProcess(found[1], log)
        reading.cancel()
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def _read(stream: asyncio.StreamReader, log: list[str]) -> None:
    while line := await stream.readline():
        log.append(line.decode())


@dataclass
class Stalls:
    """The longest time that `/livez` has taken, in seconds. It is known when the context ends."""

    longest: float = 0.0


@asynccontextmanager
async def stalls(url: str) -> AsyncIterator[Stalls]:
    """Call `/livez` again and again from another process until the context ends."""
    pipe = asyncio.subprocess.PIPE
    probe = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROBE, url.removeprefix("http://"), stdin=pipe, stdout=pipe
    )
    assert probe.stdin is not None
    assert probe.stdout is not None
    found = Stalls()
    try:
        assert await probe.stdout.readline() == b"ready\n"
        yield found
        probe.stdin.close()
        found.longest = float(await probe.stdout.readline())
    finally:
        if probe.returncode is None:
            probe.kill()
        await probe.wait()
