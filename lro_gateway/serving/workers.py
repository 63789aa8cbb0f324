"""Workers: processes that serve one address; their parent starts, replaces and stops them."""

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

# Never a fork: the threads of gRPC and what they hold do not survive one.
_SPAWN: Final = multiprocessing.get_context("spawn")
_PAUSE: Final = 1.0
"""Seconds until the next attempt to start a worker that did not get as far as to listen."""
_PATIENCE: Final = SHUTDOWN_GRACE + CALLS_GRACE.total_seconds() + 5.0
"""Seconds after which a worker that should stop is taken to hang: its requests, then its calls."""
_EPHEMERAL: Final = (
    "server.keys has no key: task ids and page tokens end with this group of workers,"
    " and other replicas do not know them"
)


class WorkerError(Exception):
    """A worker that ended before it listened."""


@asynccontextmanager
async def serve_by_workers(settings: GatewayConfig, count: int) -> AsyncIterator[str]:
    """Serve by so many processes while the context lasts; yields the address when all listen.

    A worker that dies is replaced. `OSError` if the address cannot be had, `ConfigError` or
    `WorkerError` if a worker cannot start.
    """
    listeners = _bind(settings.server, count)
    settings = _with_a_key(settings)
    loop = asyncio.get_running_loop()
    places = [_Place(settings, listener, loop.create_future()) for listener in listeners]
    async with task_group() as group:
        keepers = [group.create_task(place.keep()) for place in places]
        try:
            for place in places:
                if (failure := await place.first_start) is not None:
                    raise failure
            yield address_of(listeners[0])
        finally:
            # Else who connects now would wait for a worker that never comes.
            _close(listeners)
            for keeper in keepers:
                keeper.cancel()


def _bind(settings: ServerConfig, count: int) -> list[socket.socket]:
    """Return what each worker listens at: one port, and on Linux a socket each (SO_REUSEPORT).

    Measured with uvloop: of one shared socket, whoever wakes first accepts all that wait, so that
    of 64 connections made at once one of four workers got 22 to 59, and one of two 39 to 64;
    kept-alive connections then stay there. With a socket each the kernel spreads them by a hash:
    10 to 24 for each of four, 26 to 38 for each of two. The parent keeps the sockets open: who
    waits at that of a worker that died is answered by the next. Elsewhere than on Linux this option
    does not spread connections, and all workers share one socket.
    """
    if sys.platform != "linux":
        return [bind(settings)] * count
    # Whoever shares a port also shares it with another gateway that does: one socket that does not
    # tells whether the port is taken.
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
    """Return the settings with a key for all workers; it reaches them by a pipe, as all of them."""
    if settings.server.keys:
        return settings
    logger.warning(_EPHEMERAL)
    keys = (SecretBytes(os.urandom(MIN_KEY)),)
    return settings.model_copy(update={"server": settings.server.model_copy(update={"keys": keys})})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one worker after another serves; `first_start` is why the first cannot, or None."""

    settings: GatewayConfig
    listener: socket.socket
    first_start: asyncio.Future[Exception | None]

    async def keep(self) -> None:
        """Have a worker serve here, and another whenever one ends; nothing if the first cannot."""
        while True:
            try:
                await self._serve()
            except (ConfigError, OSError, WorkerError) as error:
                if not self.first_start.done():
                    self.first_start.set_result(error)
                    return
                logger.error("no worker can start, next attempt in %g s: %s", _PAUSE, error)  # noqa: TRY400 - it tells all
                await asyncio.sleep(_PAUSE)

    async def _serve(self) -> None:
        process, reports = _start(self.settings, self.listener)
        try:
            await _until_it_listens(process, reports)
            if not self.first_start.done():
                self.first_start.set_result(None)
            await anyio.wait_readable(process.sentinel)
        finally:
            await _stop(process, _PATIENCE)
            reports.close()
        logger.error(
            "worker %s ended with status %s; another takes its place",
            process.pid,
            process.exitcode,
        )


def _start(settings: GatewayConfig, listener: socket.socket) -> tuple[SpawnProcess, Connection]:
    reports, reporting = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_work, args=(settings, listener, reporting), daemon=True)
    try:
        with _spared_from_ctrl_c():
            process.start()
    except OSError:
        reports.close()
        raise
    finally:
        reporting.close()
    return process, reports


@contextmanager
def _spared_from_ctrl_c() -> Iterator[None]:
    """Block SIGINT for processes that begin here, for good.

    Ctrl-C reaches every process of a terminal, but when workers stop is their parent's to say: one
    that is still importing would end with a traceback, another would look as if it had died.
    """
    # The tracker unblocks SIGINT when it starts, as it would with the first worker.
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
        said = f"worker {process.pid} ended with status {process.exitcode} before it listened"
        raise WorkerError(said) from None
    if mistakes:
        raise ConfigError(mistakes)


async def _stop(process: SpawnProcess, patience: float) -> None:
    """Have a process end, by force if it does not in time."""
    process.terminate()
    try:
        async with asyncio.timeout(patience):
            await anyio.wait_readable(process.sentinel)
    except TimeoutError:
        logger.error("worker %s does not stop and is killed", process.pid)  # noqa: TRY400 - it tells all
        process.kill()
    process.join()


def _work(settings: GatewayConfig, listener: socket.socket, reporting: Connection) -> None:
    """Be a worker: serve until SIGTERM, or until the parent is no more."""
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
    """Return what SIGTERM sets, and the end of the parent, however it ended."""
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
