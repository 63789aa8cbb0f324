"""A demo backend, a gateway in front of it, and the command line of a person who asks it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc.aio

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.records.location import NOWHERE, Location
from tests.demo.client import Client
from tests.gateways import serving

COMMAND: Final = str(Path(sys.executable).parent / "lro-gateway")
_TIME_LIMIT: Final = 60
_STYLE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed. A terminal shows both outputs as one."""

    status: int
    stdout: str
    stderr: str = ""

    @property
    def text(self) -> str:
        """The output without the styles of a terminal."""
        return _STYLE.sub("", self.stdout)


@dataclass
class Terminal:
    """A command in a terminal, and what the terminal has shown so far."""

    process: asyncio.subprocess.Process
    descriptor: int
    output: asyncio.StreamReader
    shown: str = ""

    def write(self, keys: str) -> None:
        """Type keys."""
        os.write(self.descriptor, keys.encode())

    async def until(self, pattern: str) -> re.Match[str]:
        """Read until the shown text matches the pattern; return the match."""
        async with asyncio.timeout(_TIME_LIMIT):
            while not (found := re.search(pattern, self.shown)):
                assert await self._read(), f"ended without {pattern}: {self.shown}"
        return found

    async def end(self) -> Ended:
        """Read until the command ends."""
        async with asyncio.timeout(_TIME_LIMIT):
            while await self._read():
                pass
            return Ended(await self.process.wait(), self.shown)

    async def _read(self) -> bool:
        """Read a part; return False when the terminal is closed, which is an error on Linux."""
        with suppress(OSError):
            if content := await self.output.read(65536):
                self.shown += content.decode(errors="replace").replace("\r\n", "\n")
                return True
        return False


@dataclass(frozen=True)
class Stage:
    """The backend's gate and client, the URL of the gateway, and the address of the backend."""

    gate: Gate
    client: Client
    url: str
    target: str

    async def run(self, *arguments: str, stdin: str = "", **variables: str) -> Ended:
        """Run `lro-gateway` with pipes, to its end."""
        process = await self.start(*arguments, **variables)
        async with asyncio.timeout(_TIME_LIMIT):
            out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    async def start(self, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
        """Start `lro-gateway` with pipes."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(COMMAND, *arguments),
            env=self._environment(variables),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )

    async def type(
        self, *arguments: str, columns: int = 80, keys: str = "", **variables: str
    ) -> Ended:
        """Run `lro-gateway` in a terminal to its end, and type the keys."""
        async with self.terminal(*arguments, columns=columns, **variables) as terminal:
            terminal.write(keys)
            return await terminal.end()

    @asynccontextmanager
    async def terminal(
        self, *arguments: str, program: str = COMMAND, columns: int = 80, **variables: str
    ) -> AsyncIterator[Terminal]:
        """Start `lro-gateway` or another program in a terminal of 24 lines."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = await asyncio.create_subprocess_exec(
            *(program, *arguments),
            env=self._environment({"TERM": "xterm-256color", **variables}),
            stdin=its,
            stdout=its,
            stderr=its,
        )
        os.close(its)
        shown = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(shown), os.fdopen(ours, "rb", closefd=False)
        )
        try:
            yield Terminal(process, ours, shown)
        finally:
            transport.close()
            os.close(ours)
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**kept, "LRO_GATEWAY_URL": self.url, "TZ": "UTC", **variables}


@asynccontextmanager
async def staged(
    directory: Path, store: Location = NOWHERE, **settings: Any
) -> AsyncIterator[Stage]:
    """Run a demo backend and a gateway in front of it, with these settings of the backend."""
    gate = Gate()
    async with (
        DemoServer.open(directory, pace=gate) as backend,
        grpc.aio.insecure_channel(backend.target) as channel,
        serving({"name": "demo", "target": backend.target, **settings}, store=store) as url,
    ):
        yield Stage(gate, Client(channel), url, backend.target)
