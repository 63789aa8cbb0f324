"""The processes of a run: each is started here, and ended here by its own id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.benchmark.lines import Message

_START_LIMIT: Final = 30.0
_END_LIMIT: Final = 8.0
_ANSWER_LIMIT: Final = 60.0
_GATEWAY: Final = Path(sys.executable).with_name("lro-gateway")
_LISTENING: Final = re.compile(rb"REST http://([0-9.:]+)/v1")


class ProcessError(Exception):
    """A process that ended or fell silent; its text holds what it said last."""


@asynccontextmanager
async def _process(*command: str, stderr: int | None) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    # A session of its own: Ctrl-C reaches this program alone, which then ends the others.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=stderr, start_new_session=True
    )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin:
        process.stdin.close()
    for stop in (process.terminate, process.kill):
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _END_LIMIT)


@dataclass(frozen=True, slots=True)
class Served:
    """Where a process listens, and its id."""

    address: str
    pid: int


@dataclass(frozen=True, slots=True)
class Program:
    """A program of this package that runs; `hello` is its first line."""

    name: str
    process: asyncio.subprocess.Process
    hello: Message

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def served(self) -> Served:
        """Where it listens, if it does."""
        return Served(str(self.hello["address"]), self.pid)

    async def ask(self, **message: object) -> Message:
        """Send a line and return the answer."""
        if self.process.stdin is None:
            raise ProcessError(self.name)
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        return await _line(self.name, self.process, _ANSWER_LIMIT)


async def _line(name: str, process: asyncio.subprocess.Process, limit: float) -> Message:
    if process.stdout is None:
        raise ProcessError(name)
    try:
        line = await asyncio.wait_for(process.stdout.readline(), limit)
    except TimeoutError:
        raise ProcessError(f"{name} did not answer within {limit:g} s") from None
    if not line:
        raise ProcessError(f"{name} ended; what it said is above")
    message: Message = json.loads(line)
    if "error" in message:
        raise ProcessError(f"{name}: {message['error']}")
    return message


@asynccontextmanager
async def program(name: str, *arguments: str) -> AsyncIterator[Program]:
    """Run `scripts.benchmark.<name>` until the context ends."""
    module = f"scripts.benchmark.{name}"
    async with _process(sys.executable, "-m", module, *arguments, stderr=None) as process:
        yield Program(name, process, await _line(name, process, _START_LIMIT))


@asynccontextmanager
async def gateway(*arguments: str) -> AsyncIterator[Served]:
    """Run `lro-gateway serve`, as its users do, on a free port."""
    command = (str(_GATEWAY), "serve", "--port", "0", *arguments)
    async with _process(*command, stderr=asyncio.subprocess.PIPE) as process:
        if process.stderr is None:
            raise ProcessError("lro-gateway")
        address = await _listening(process.stderr)
        draining = asyncio.create_task(_drain(process.stderr))
        try:
            yield Served(address, process.pid)
        finally:
            draining.cancel()


async def _listening(stderr: asyncio.StreamReader) -> str:
    said: deque[bytes] = deque(maxlen=40)
    async with asyncio.timeout(_START_LIMIT):
        async for line in stderr:
            said.append(line)
            if found := _LISTENING.search(line):
                return found.group(1).decode()
    raise ProcessError(f"lro-gateway ended:\n{b''.join(said).decode(errors='replace')}")


async def _drain(stderr: asyncio.StreamReader) -> None:
    async for _ in stderr:
        pass


@asynccontextmanager
async def gateway_to(
    targets: Sequence[str], descriptors: Path | None = None
) -> AsyncIterator[Served]:
    """Run a gateway with several backends; the names of the first are `b0/**`, and so on.

    Their methods are those of a FileDescriptorSet where one is given.
    """
    source = {"descriptors": [str(descriptors)]} if descriptors else {}
    backends = [
        {"name": f"b{number}", "target": target, "operations": [f"b{number}/**"], **source}
        for number, target in enumerate(targets)
    ]
    async with gateway_with(*backends) as running:
        yield running


@asynccontextmanager
async def gateway_with(*backends: Mapping[str, object]) -> AsyncIterator[Served]:
    """Run a gateway with these `[[backends]]`."""
    with _configuration(backends) as file:
        async with gateway("--config", str(file)) as running:
            yield running


@contextlib.contextmanager
def _configuration(backends: Sequence[Mapping[str, object]]) -> Iterator[Path]:
    # Strings, numbers and lists of them are the same in JSON and in TOML.
    tables = [
        "\n".join(
            ["[[backends]]", *(f"{key} = {json.dumps(value)}" for key, value in each.items())]
        )
        for each in backends
    ]
    with tempfile.TemporaryDirectory(prefix="lro-gateway-bench-") as directory:
        file = Path(directory, "gateway.toml")
        file.write_text("\n\n".join(tables))
        yield file
