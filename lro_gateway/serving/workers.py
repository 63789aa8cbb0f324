"""Workers: processes that serve one address. Their parent starts, replaces and stops them."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final

import anyio
import uvloop
from pydantic import SecretBytes

from lro_gateway.background import task_group
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig, ServerConfig
from lro_gateway.gateway import CALLS_GRACE, Gateway
from lro_gateway.sealing import MIN_KEY
from lro_gateway.serving.http import SHUTDOWN_GRACE, address_of, bind, configure_logging, serve_http

logger: Final = logging.getLogger(__name__)

# Workers are spawned, because the threads and locks of gRPC do not survive a fork.
_SPAWN: Final = multiprocessing.get_context("spawn")
_RETRY_DELAY: Final = 1.0
"""Seconds between a failed start of a worker and the next attempt."""
_STOP_LIMIT: Final = SHUTDOWN_GRACE + CALLS_GRACE.total_seconds() + 5.0
"""Seconds that a worker may take to stop before its parent kills it.

A worker first ends its requests, then its calls of backends.
"""
_EPHEMERAL: Final = (
    "server.keys has no key, so task ids and page tokens are valid only until these workers stop,"
    " and other replicas reject them"
)


class WorkerError(Exception):
    """A worker ended before it listened."""


@asynccontextmanager
async def serve_by_workers(settings: GatewayConfig, count: int) -> AsyncIterator[str]:
    """Serve with `count` processes until the context ends. Yield the address once all listen.

    A worker that ends is replaced. Raises `OSError` if the address cannot be bound, and
    `ConfigError` or `WorkerError` if a worker cannot start.
    """
    listeners = _bind(settings.server, count)
    settings = _with_a_key(settings)
    loop = asyncio.get_running_loop()
    slots = [_Slot(settings, listener, loop.create_future()) for listener in listeners]
    async with task_group() as group:
        running = [group.create_task(slot.run()) for slot in slots]
        try:
            for slot in slots:
                if (failure := await slot.first_start) is not None:
                    raise failure
            yield address_of(listeners[0])
        finally:
            # If the sockets stayed open, a new client would wait for a worker that never starts.
            _close(listeners)
            for task in running:
                task.cancel()


def _bind(settings: ServerConfig, count: int) -> list[socket.socket]:
    """Return the socket of each worker; all sockets listen at one port.

    On Linux each worker has its own socket (SO_REUSEPORT). The kernel spreads connections over
    these sockets by a hash. With one shared socket, the worker that wakes first accepts all waiting
    connections, and kept-alive connections then stay with that worker. In a measurement with uvloop
    and 64 simultaneous connections, each worker got these numbers of connections:

    - One shared socket: the busiest of four workers got 22 to 59, and the busier of two 39 to 64.
    - One socket for each worker: each of four workers got 10 to 24, and each of two 26 to 38.

    The parent keeps the sockets open. If a worker ends, the worker that replaces it answers the
    connections that wait at its socket. On other systems SO_REUSEPORT does not spread connections,
    so all workers share one socket.
    """
    if sys.platform != "linux":
        return [bind(settings)] * count
    # Sockets with SO_REUSEPORT could share the port with another gateway by mistake. So first bind
    # a socket without SO_REUSEPORT, which fails if the port is taken.
    bind(settings).close()
    listeners = [bind(settings, shared=True)]
    settings = settings.model_copy(update={"port": listeners[0].getsockname()[1]})
    try:
        listeners.extend(bind(settings, shared=True) for _ in range(count - 1))
    except OSError:
        _close(listeners)
        raise
    return listeners


def _close(listeners: Sequence[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _with_a_key(settings: GatewayConfig) -> GatewayConfig:
    """Return the settings. If they have no key, add a random key.

    All workers need the same key. They receive it with the other settings through a pipe.
    """
    if settings.server.keys:
        return settings
    logger.warning(_EPHEMERAL)
    keys = (SecretBytes(os.urandom(MIN_KEY)),)
    return settings.model_copy(update={"server": settings.server.model_copy(update={"keys": keys})})


@dataclass(frozen=True, slots=True)
class _Slot:
    """One listening socket, which one worker after another serves.

    `first_start` is set once: to None when the first worker listens, or to the reason why it
    cannot.
    """

    settings: GatewayConfig
    listener: socket.socket
    first_start: asyncio.Future[Exception | None]

    async def run(self) -> None:
        """Run a worker, and replace each worker that ends. Return if the first cannot start."""
        while True:
            try:
                await self._serve()
            except (ConfigError, OSError, WorkerError) as error:
                if not self.first_start.done():
                    self.first_start.set_result(error)
                    return
                logger.error("no worker can start, next attempt in %g s: %s", _RETRY_DELAY, error)  # noqa: TRY400 - the message has the reason
                await asyncio.sleep(_RETRY_DELAY)

    async def _serve(self) -> None:
        process, reports = _start(self.settings, self.listener)
        try:
            await _until_it_listens(process, reports)
            if not self.first_start.done():
                self.first_start.set_result(None)
            await anyio.wait_readable(process.sentinel)
        finally:
            await _stop(process, _STOP_LIMIT)
            reports.close()
        logger.error(
            "worker %s ended with status %s; a new worker replaces it",
            process.pid,
            process.exitcode,
        )


def _start(settings: GatewayConfig, listener: socket.socket) -> tuple[SpawnProcess, Connection]:
    reports, reporting = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_work, args=(settings, listener, reporting), daemon=True)
    try:
        with _sigint_blocked():
            process.start()
    except OSError:
        reports.close()
        raise
    finally:
        reporting.close()
    return process, reports


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT in the processes that start inside this context, for as long as they run.

    Ctrl-C sends SIGINT to every process of a terminal, but the parent decides when workers stop.
    Without the block, a worker that is still importing would end with a traceback, and the parent
    would replace a worker that ended by Ctrl-C.
    """
    # The resource tracker unblocks SIGINT when it starts. Start it now, because it would otherwise
    # start together with the first worker.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _until_it_listens(process: SpawnProcess, reports: Connection) -> None:
    await anyio.wait_readable(reports)
    try:
        mistakes = reports.recv()
    except EOFError:
        await anyio.wait_readable(process.sentinel)
        process.join()
        text = f"worker {process.pid} ended with status {process.exitcode} before it listened"
        raise WorkerError(text) from None
    if mistakes:
        raise ConfigError(mistakes)


async def _stop(process: SpawnProcess, limit: float) -> None:
    """Terminate a process; kill it if it does not end within `limit` seconds."""
    process.terminate()
    try:
        async with asyncio.timeout(limit):
            await anyio.wait_readable(process.sentinel)
    except TimeoutError:
        logger.error("worker %s does not stop and is killed", process.pid)  # noqa: TRY400 - the timeout is the reason
        process.kill()
    process.join()


def _work(settings: GatewayConfig, listener: socket.socket, reporting: Connection) -> None:
    """Run as a worker: serve until SIGTERM, or until the parent process ends."""
    configure_logging()
    try:
        uvloop.run(_serve(settings, listener, reporting))
    except ConfigError as error:
        reporting.send(error.mistakes)


async def _serve(settings: GatewayConfig, listener: socket.socket, reporting: Connection) -> None:
    stop = _stop_event()
    async with Gateway.open(settings) as gateway, serve_http(gateway, listener):
        reporting.send(())
        await stop.wait()


def _stop_event() -> asyncio.Event:
    """Return an event that is set by SIGTERM, or when the parent process ends for any reason."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if (parent := multiprocessing.parent_process()) is not None:
        sentinel = parent.sentinel

        def orphaned() -> None:
            loop.remove_reader(sentinel)
            stop.set()

        loop.add_reader(sentinel, orphaned)
    return stop
