"""One worker: a process that serves a socket, and that beats to show its parent that it lives."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final, Self

import anyio
import uvloop

from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http
from lro_gateway.serving.logs import configure_logging
from lro_gateway.serving.scratch import hold
from lro_gateway.serving.signals import STOP_LIMIT, end_within

logger: Final = logging.getLogger(__name__)

# Workers are spawned, because the threads and locks of gRPC do not survive a fork.
_SPAWN: Final = multiprocessing.get_context("spawn")
_START_LIMIT: Final = 120.0
"""Seconds that a worker may take to listen. A container with a tenth of a core needs 40 s."""
_BEAT: Final = 0.25
"""Seconds between two beats of a worker, and between two looks of its parent."""
_SILENT: Final = 2.0
"""Seconds without a beat after which a worker is replaced."""
_DEAD: Final = 3.0
"""Seconds without a beat after which a worker that should stop is killed."""
_TURNS: Final = b"+"
_STOPS: Final = b"-"
"""The first byte of a beat: whether the worker serves, or has begun to stop."""
_LONGEST_BEAT: Final = 2000
"""Bytes of the longest beat. A pipe takes a message of this size whole or not at all."""
_TRACER: Final = re.compile(r"^TracerPid:\t[1-9]", re.MULTILINE)


class WorkerError(Exception):
    """A worker did not start, or ended before it listened."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The directory of the workers of one address: for their metrics, and for long answers."""

    directory: Path

    @classmethod
    def made_in(cls, directory: Path) -> Self:
        """Make the parts of the directory."""
        made = cls(directory)
        for part in (made.metrics, made.answers):
            part.mkdir(mode=0o700)
        return made

    @property
    def metrics(self) -> Path:
        """The directory of metrics."""
        return self.directory / "metrics"

    @property
    def answers(self) -> Path:
        """The directory of long answers."""
        return self.directory / "answers"


class Worker:
    """A worker as its parent sees it.

    The parent counts its own looks without a beat, and does not read a clock. While the machine
    sleeps, or while Ctrl-Z stops the parent and its workers, the parent does not look. The workers
    then do not seem silent afterwards.
    """

    def __init__(self, process: SpawnProcess, reports: Connection) -> None:
        self._process = process
        self._reports = reports
        self._looks_without_beat = 0
        self._has_listened = False
        self._stops = False
        self._calls = ""

    @classmethod
    async def start(
        cls, settings: GatewayConfig, listener: socket.socket, shared: Shared | None = None
    ) -> Worker:
        """Start a worker, and return it once it listens.

        All workers of an address get the same `shared`. Raises `ConfigError` or `WorkerError` if
        the worker cannot start.
        """
        try:
            worker = cls(*_spawn(settings, listener, shared))
        except OSError as error:
            raise WorkerError(f"no process can start: {error.strerror or error}") from error
        try:
            await worker._until_it_listens()
        except BaseException:
            await worker.stop()
            raise
        return worker

    @property
    def pid(self) -> int | None:
        """The id of the process."""
        return self._process.pid

    @property
    def _silence(self) -> float:
        """The seconds without a beat."""
        return self._looks_without_beat * _BEAT

    @property
    def _fate(self) -> str:
        """The end of a sentence about the death of the worker, which names the calls it lost."""
        if not self._calls:
            return ""
        return f"; these calls ran in it and may have taken effect: {self._calls}"

    async def until_it_fails(self) -> str:
        """Wait until the worker ends, hangs or stops by itself, and return what happened."""
        while await self._runs():
            if self._stops:
                return "has begun to stop"
            if self._silence >= _SILENT and not self._is_traced():
                return f"has been silent for {self._silence:g} s"
        self._process.join()
        return f"ended with status {self._process.exitcode}{self._fate}"

    def is_well(self) -> bool:
        """Return whether the worker serves, and has beaten since the parent last looked."""
        return self._process.is_alive() and self._is_heard() and not self._stops

    def _is_heard(self) -> bool:
        """Return whether the worker has beaten since the parent last looked."""
        beat = b""
        with suppress(EOFError, OSError):
            while self._reports.poll():
                beat = self._reports.recv_bytes()
        if beat:
            self._looks_without_beat = 0
            self._stops = beat.startswith(_STOPS)
            self._calls = beat[1:].decode(errors="replace")
        return bool(beat)

    async def stop(self) -> None:
        """Stop the worker. Kill it if it hangs, or does not end within the limit of a stop."""
        self._process.terminate()
        if not await self._ends():
            self._process.kill()
            logger.error("worker %s does not stop and is killed%s", self.pid, self._fate)
            await anyio.wait_readable(self._process.sentinel)
        self._process.join()
        self._reports.close()

    async def _ends(self) -> bool:
        """Wait for the end of the process. Return False if it hangs or takes too long."""
        try:
            async with asyncio.timeout(STOP_LIMIT):
                while await self._runs():
                    # Without a beat so far, it only starts slowly.
                    if self._has_listened and self._silence >= _DEAD:
                        return False
        except TimeoutError:
            return False
        return True

    async def replaced(self) -> None:
        """Stop the worker, whose successor listens. Kill it at once if it is still silent."""
        if self._silence and not self._is_heard():
            # The start of the successor took longer than the rest of the time.
            self._looks_without_beat = round(_DEAD / _BEAT)
        await self.stop()

    async def _until_it_listens(self) -> None:
        try:
            async with asyncio.timeout(_START_LIMIT):
                await anyio.wait_readable(self._reports)
            mistakes = self._reports.recv()
        except TimeoutError:
            text = f"worker {self.pid} did not listen within {_START_LIMIT:g} s"
            raise WorkerError(text) from None
        except EOFError:
            await anyio.wait_readable(self._process.sentinel)
            self._process.join()
            text = f"worker {self.pid} ended with status {self._process.exitcode}"
            raise WorkerError(f"{text} before it listened") from None
        if mistakes:
            raise ConfigError(mistakes)
        self._has_listened = True

    async def _runs(self) -> bool:
        """Look for beats after a pause. Return False at once if the process ends."""
        try:
            async with asyncio.timeout(_BEAT):
                await anyio.wait_readable(self._process.sentinel)
        except TimeoutError:
            self._looks_without_beat += 1
            self._is_heard()
            return True
        return False

    def _is_traced(self) -> bool:
        """Return whether a debugger holds the process."""
        try:
            return bool(_TRACER.search(Path(f"/proc/{self.pid}/status").read_text()))
        except OSError:
            return False


def _spawn(
    settings: GatewayConfig, listener: socket.socket, shared: Shared | None
) -> tuple[SpawnProcess, Connection]:
    reports, reporting = _SPAWN.Pipe(duplex=False)
    arguments = (settings, listener, reporting, shared)
    process = _SPAWN.Process(target=_work, args=arguments, daemon=True)
    try:
        with _signals_blocked():
            process.start()
    except OSError:
        reports.close()
        raise
    finally:
        reporting.close()
    return process, reports


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGHUP in the processes that start inside this context, until they end.

    Ctrl-C, and the end of a terminal, send these signals to every process of the terminal. But the
    parent decides when workers stop. Without the block, a worker that is still importing would end
    with a traceback, and the parent would replace a worker that ended by Ctrl-C.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        # The resource tracker unblocks SIGINT when it starts. Start it now, because it would
        # otherwise start together with the first worker.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    settings: GatewayConfig,
    listener: socket.socket,
    reporting: Connection,
    shared: Shared | None,
) -> None:
    """Run as a worker: serve until SIGTERM, or until the parent process ends."""
    configure_logging(settings.logs)
    try:
        uvloop.run(_serve(settings, listener, reporting, shared))
    except ConfigError as error:
        reporting.send(error.mistakes)


async def _serve(
    settings: GatewayConfig,
    listener: socket.socket,
    reporting: Connection,
    shared: Shared | None,
) -> None:
    stop = _stop_event()
    if shared is not None:
        # If the parent is killed, this worker goes on for a moment.
        hold(shared.directory)
    opened = Gateway.open(settings, shared_directory=shared.answers if shared else None)
    async with opened as gateway, serve_http(gateway, listener):
        reporting.send(())
        # If the parent is stopped, the pipe fills. The worker must not wait for the parent then.
        os.set_blocking(reporting.fileno(), False)
        beats = _Beats(reporting, gateway.service.starts.running)
        beats.begin()
        await stop.wait()
        beats.first_byte = _STOPS


class _Beats:
    """The beats of this process, which tell its parent that the loop turns and which calls run."""

    first_byte = _TURNS

    def __init__(self, reporting: Connection, running: Callable[[], Iterable[str]]) -> None:
        self._reporting = reporting
        self._running = running

    def begin(self) -> None:
        """Beat, and do so again and again until the loop ends."""
        calls = "; ".join(self._running()).encode(errors="replace")
        with suppress(OSError):
            self._reporting.send_bytes((self.first_byte + calls)[:_LONGEST_BEAT])
        asyncio.get_running_loop().call_later(_BEAT, self.begin)


def _stop_event() -> asyncio.Event:
    """Return an event that is set by SIGTERM, or when the parent process ends for any reason."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if (parent := multiprocessing.parent_process()) is not None:

        def end_with_parent() -> None:
            parent.join()
            end_within(STOP_LIMIT)
            with suppress(RuntimeError):  # the loop has closed, so the worker ends already
                loop.call_soon_threadsafe(stop.set)

        # A thread notices the end of the parent although the event loop hangs.
        threading.Thread(target=end_with_parent, daemon=True).start()
    return stop
