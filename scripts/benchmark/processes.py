"""The processes of a run: their start and end, their messages, and their memory and time.

A program of the benchmark reads one JSON object per line from stdin and answers it with one line on
stdout. It ends when its stdin closes, so no program outlives the run that started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
import tempfile
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

Message = dict[str, Any]

SCRATCH: Final = "lro-gateway-bench-"
"""The first part of the names of temporary files."""
HAS_PROC: Final = Path("/proc/self/stat").exists()
"""Whether the system reports the memory and processor time of processes, as Linux does."""

_START_LIMIT: Final = 30.0
_END_LIMIT: Final = 8.0
_ANSWER_LIMIT: Final = 60.0
_GATEWAY: Final = Path(sys.executable).with_name("lro-gateway")
_LISTENING: Final = re.compile(rb"REST http://([0-9.:]+)/v1")
_RESIDENT: Final = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)


class ProcessError(Exception):
    """A process ended, failed or did not answer in time; the text says which process and why."""


@dataclass(frozen=True, slots=True)
class Process:
    """A running process. Its `address` is empty if it does not listen."""

    name: str
    pid: int
    stdin: StreamWriter
    stdout: StreamReader
    address: str = ""

    async def ask(self, **message: object) -> Message:
        """Send a line to a program of the benchmark and return its answer."""
        self.stdin.write(json.dumps(message).encode() + b"\n")
        return await self.line(_ANSWER_LIMIT)

    async def line(self, limit: float) -> Message:
        """Return the next line of a program of the benchmark; it must come in `limit` seconds."""
        try:
            line = await asyncio.wait_for(self.stdout.readline(), limit)
        except TimeoutError:
            raise ProcessError(f"{self.name} did not answer within {limit:g} s") from None
        if not line:
            raise ProcessError(f"{self.name} ended; the lines above are its last")
        message: Message = json.loads(line)
        if "error" in message:
            raise ProcessError(f"{self.name}: {message['error']}")
        return message

    def resident_mb(self) -> float:
        """Return the resident memory in megabytes of 2**20 bytes. Needs `HAS_PROC`."""
        found = _RESIDENT.search(Path(f"/proc/{self.pid}/status").read_text())
        return int(found.group(1)) / 1024 if found else 0.0

    def cpu_seconds(self) -> float:
        """Return the processor time that all threads have used so far. Needs `HAS_PROC`."""
        # The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def program(name: str, *arguments: str) -> AsyncIterator[Process]:
    """Run `scripts.benchmark.<name>` until the context ends."""
    command = (sys.executable, "-m", f"scripts.benchmark.{name}", *arguments)
    async with _running(name, *command, stderr=None) as process:
        hello = await process.line(_START_LIMIT)
        yield replace(process, address=hello["address"])


@asynccontextmanager
async def gateway(*arguments: str) -> AsyncIterator[Process]:
    """Run `lro-gateway serve` on a free port until the context ends."""
    command = (str(_GATEWAY), "serve", "--port", "0", *arguments)
    async with _running("lro-gateway", *command, stderr=asyncio.subprocess.STDOUT) as process:
        address = await _listening(process.stdout)
        draining = asyncio.create_task(_drain(process.stdout))
        try:
            yield replace(process, address=address)
        finally:
            draining.cancel()


@asynccontextmanager
async def gateway_with(
    *backends: Mapping[str, object],
    mcp: Mapping[str, object] | None = None,
    issuers: Iterable[Mapping[str, object]] = (),
    rules: Iterable[Mapping[str, object]] = (),
    store: str = "none",
    auth: Mapping[str, object] | None = None,
    deliveries: Mapping[str, object] | None = None,
) -> AsyncIterator[Process]:
    """Run a gateway with these `[[backends]]`, this `[mcp]` and these `[[auth.issuers]]`.

    `auth` are the other keys of its `[auth]`, `rules` are its `[[policy]]`, `store` is the URL of
    its store, and `deliveries` are its `[deliveries]`.
    """
    tables = [*(("[[backends]]", each) for each in backends), ("[mcp]", mcp or {})]
    tables += [("[auth]", auth)] if auth else []
    tables += [("[store]", {"url": store}), *(("[[auth.issuers]]", each) for each in issuers)]
    tables += [("[[policy]]", each) for each in rules]
    tables.append(("[deliveries]", deliveries or {}))
    with tempfile.NamedTemporaryFile("w", prefix=SCRATCH, suffix=".toml") as file:
        for name, table in tables:
            # JSON and TOML have the same syntax for strings, numbers and lists of them.
            lines = [name, *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
            file.write("\n".join([*lines, "", ""]))
        file.flush()
        async with gateway("--config", file.name) as running:
            yield running


@asynccontextmanager
async def _running(name: str, *command: str, stderr: int | None) -> AsyncIterator[Process]:
    pipe = asyncio.subprocess.PIPE
    # Each process has a session of its own, so that Ctrl-C reaches only the benchmark. The
    # benchmark then ends the other processes.
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=pipe,
        stdout=pipe,
        stderr=stderr,
        start_new_session=True,
        # Without this, a gateway would use the store of this user.
        env={**os.environ, "LRO_GATEWAY_STORE": "none"},
    )
    # Both are None only if the child was started without pipes.
    stdin, stdout = cast("StreamWriter", child.stdin), cast("StreamReader", child.stdout)
    try:
        yield Process(name, child.pid, stdin, stdout)
    finally:
        stdin.close()
        for stop in (child.terminate, child.kill):
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    stop()
                with suppress(TimeoutError):
                    await asyncio.wait_for(child.wait(), _END_LIMIT)


async def _listening(output: StreamReader) -> str:
    last: deque[bytes] = deque(maxlen=40)
    async with asyncio.timeout(_START_LIMIT):
        async for line in output:
            last.append(line)
            if found := _LISTENING.search(line):
                return found.group(1).decode()
    raise ProcessError(f"lro-gateway ended:\n{b''.join(last).decode(errors='replace')}")


async def _drain(output: StreamReader) -> None:
    async for _ in output:
        pass


async def answer_lines(
    answer: Callable[[Message], Awaitable[Message]], *, address: str = ""
) -> None:
    """Write the address of this program, then answer each line until stdin closes.

    If `answer` raises, the line that goes back is `{"error": "<the error>"}`.
    """
    reader = StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    _write({"address": address})
    async for line in reader:
        try:
            _write(await answer(json.loads(line)))
        except Exception as error:  # noqa: BLE001 - the benchmark reports every error
            _write({"error": f"{type(error).__name__}: {error}"})


def _write(message: Message) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def allow_files(number: int) -> None:
    """Raise the limit of open files of this process and its children to `number`.

    The hard limit of the system may keep it lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
