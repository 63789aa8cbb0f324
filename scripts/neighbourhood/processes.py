"""The processes of a run: backends that survive their death, and a gateway with its workers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from tests.ports import unused_port

START_LIMIT: Final = 120.0
_LISTENING: Final = re.compile(r"REST (http://[0-9.:]+)/v1")
_MEMORY: Final = re.compile(r"^(VmRSS|VmSize):\s+(\d+) kB", re.MULTILINE)
_PACE: Final = 20
"""Milliseconds between two batches of an operation, of which each has about twenty."""


class Backend:
    """The demo's backend in a process of its own. It finds its operations again after its death."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.address = f"127.0.0.1:{unused_port()}"
        self._directory = directory / name
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process, and return once it listens."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lro_gateway.demo", "--directory", str(self._directory)),
            *("--address", self.address, "--pace-ms", str(_PACE)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        stdout = cast("asyncio.StreamReader", self._process.stdout)
        async with asyncio.timeout(START_LIMIT):
            await stdout.readline()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, unless it has ended."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill the process, also if it is stopped."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds: its resident memory in megabytes of 2**20 bytes, and descriptors."""

    memory: float
    descriptors: int


class Gateway:
    """A running gateway: its URL, its log, and its workers."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """What the gateway has logged so far."""
        return self._log.read_text(errors="replace")

    @property
    def url(self) -> str:
        """The URL of the gateway, or an empty text before all workers listen."""
        found = _LISTENING.search(self.log)
        return found[1] if found else ""

    @property
    def workers(self) -> list[int]:
        """The ids of the worker processes."""
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(child) for child in children if _is_worker(int(child))]

    async def stop(self, limit: float) -> int | None:
        """Send SIGTERM; return the status, or None if the gateway does not end in time."""
        self.process.terminate()
        try:
            return await asyncio.wait_for(self.process.wait(), limit)
        except TimeoutError:
            return None


def _is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def usage(pid: int) -> Usage:
    """Return what a process holds."""
    memory = dict(_MEMORY.findall(Path(f"/proc/{pid}/status").read_text()))
    return Usage(int(memory["VmRSS"]) / 1024, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))


def virtual_memory(pid: int) -> int:
    """Return the virtual memory of a process in bytes."""
    memory = dict(_MEMORY.findall(Path(f"/proc/{pid}/status").read_text()))
    return int(memory["VmSize"]) * 1024


def limit(pid: int, kind: int, value: int | None) -> None:
    """Set a soft limit of a process, or give it back its hard limit with None."""
    _, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (hard if value is None else value, hard))


@asynccontextmanager
async def gateway(
    directory: Path, workers: int, backends: Mapping[str, str]
) -> AsyncIterator[Gateway]:
    """Run a gateway until the context ends. `backends` are targets by name."""
    file, log = directory / "gateway.toml", directory / "gateway.log"
    tables = (
        f'[[backends]]\nname = "{name}"\ntarget = {json.dumps(target)}\n'
        'deadline = "2s"\nkeepalive = "5s"\nkeepalive_timeout = "5s"\n'
        for name, target in backends.items()
    )
    file.write_text(
        "[server]\nport = 0\nsync_grace = '100ms'\n\n[store]\nurl = 'none'\n\n" + "\n".join(tables)
    )
    command = Path(sys.executable).with_name("lro-gateway")
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(str(command), "serve", "--config", str(file), "--workers", str(workers)),
            stderr=stderr,
            start_new_session=True,
        )
    running = Gateway(process, log)
    try:
        async with asyncio.timeout(START_LIMIT):
            while not running.url:
                if process.returncode is not None:
                    raise OSError(f"the gateway ended: {running.log}")
                await asyncio.sleep(0.1)
        yield running
    finally:
        if process.returncode is None:
            # The workers end when their parent has ended, but a stopped worker cannot.
            for pid in (process.pid, *running.workers):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await process.wait()
