"""Fair polls: one client with very many watches does not delay the waits of another client.

The gateway is a process of its own, and all clients come from one address, on HTTP connections.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from google.longrunning import operations_pb2

from tests.contrary import Answer, ContraryBackend

COMMAND = str(Path(sys.executable).parent / "lro-gateway")
WATCHES = 300
LISTS = 60
POLLS_PER_SECOND = 10
"""One poll of each watch and list takes 36 seconds, so four take more than any wait."""
SHORT = "jobs/short"
SHORT_POLLS = 4
"""The number of reads with which the short operation ends, which is about 3 seconds of polls."""


class Backend:
    """Operations that run for ever, except the short one. It has no WaitOperation."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self.called = asyncio.Event()

    async def get(self, request: Any, _context: Any) -> Answer:
        """Answer GetOperation."""
        self.reads[request.name] += 1
        self.called.set()
        is_done = request.name == SHORT and self.reads[SHORT] >= SHORT_POLLS
        answer: Answer = operations_pb2.Operation(name=request.name, done=is_done)
        return answer

    async def list(self, _request: Any, _context: Any) -> Answer:
        """Answer ListOperations with an empty page."""
        self.reads["lists"] += 1
        answer: Answer = operations_pb2.ListOperationsResponse()
        return answer


@asynccontextmanager
async def gateway(target: str, directory: Path) -> AsyncIterator[str]:
    """Run `lro-gateway serve`; yield its URL."""
    config = directory / "gateway.toml"
    config.write_text(
        "[server]\nport = 0\n[[backends]]\n"
        f'name = "b"\ntarget = "{target}"\ndescriptors = []\nfreshness = "0s"\n'
        f"polls_per_second = {POLLS_PER_SECOND}.0\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", "--config", str(config)), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        while not (found := re.search(rb"REST (\S+)/v1,", await process.stderr.readline())):
            assert process.returncode is None
        yield found[1].decode()
    finally:
        process.terminate()
        await process.communicate()


@asynccontextmanager
async def streams(url: str, paths: list[str]) -> AsyncIterator[None]:
    """Open a stream of events for each path, on a connection of its own, and read none of them."""
    host, _, port = url.removeprefix("http://").partition(":")
    writers = []
    for path in paths:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        writers.append(writer)
    try:
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


async def test_hundreds_of_watches_of_one_client_do_not_delay_the_wait_of_another(
    tmp_path: Path,
) -> None:
    """The wait gets all its polls in time, and all polls together stay within the limit."""
    operations = Backend()
    loop = asyncio.get_running_loop()
    handlers = {"GetOperation": operations.get, "ListOperations": operations.list}
    watches = [f"/v1/jobs/{number}:watch" for number in range(WATCHES)]
    lists = [f"/v1/operations:watch?filter=f{number}" for number in range(LISTS)]
    async with (
        ContraryBackend.open(handlers) as backend,
        gateway(backend.target, tmp_path) as url,
        streams(url, [*watches, *lists]),
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        await operations.called.wait()
        before, begin = operations.reads.total(), loop.time()
        waited = await client.post(f"/v1/{SHORT}:wait", json={"timeout": "50s"})
        polls, seconds = operations.reads.total() - before, loop.time() - begin
    assert waited.json() == {"name": SHORT, "done": True}
    assert polls <= (seconds + 1) * POLLS_PER_SECOND
