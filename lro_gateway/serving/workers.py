"""Workers: processes that serve one address. Their parent starts, replaces and stops them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretBytes

from lro_gateway.access.sealing import MIN_KEY
from lro_gateway.background import task_group
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig, ServerConfig
from lro_gateway.serving.http import address_of, bind
from lro_gateway.serving.scratch import scratch_directory
from lro_gateway.serving.worker import Shared, Worker, WorkerError
from lro_gateway.telemetry import metrics

logger: Final = logging.getLogger(__name__)

_FREE_STARTS: Final = 3
_STARTS_WINDOW: Final = 60.0
"""A socket gets `_FREE_STARTS` new workers in so many seconds without a pause."""
_PAUSES: Final = (1.0, 2.0, 5.0)
"""Seconds of the pauses before further starts. The last one repeats.

Connections wait at the socket meanwhile, so the pauses stay short.
"""
_EPHEMERAL: Final = (
    "server.keys has no key, which suffices for a trial: task ids, page tokens and the secrets of"
    " webhooks are valid only until these workers stop, and other replicas reject them"
)


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of one address."""

    address: str
    slots: Sequence[_Slot]

    async def listening(self) -> str:
        """Return the address once all workers listen; raise the error of one that cannot start."""
        for slot in self.slots:
            if (failure := await slot.first_start) is not None:
                raise failure
        return self.address


@asynccontextmanager
async def serve_by_workers(settings: GatewayConfig, count: int) -> AsyncIterator[Workers]:
    """Serve with `count` processes until the context ends.

    A worker that ends or hangs is replaced. Raises `OSError` if the address cannot be bound. If a
    worker cannot start, `Workers.listening` raises `ConfigError` or `WorkerError`.
    """
    listeners = _bind(settings.server, count)
    settings = _with_a_key(settings)
    loop = asyncio.get_running_loop()
    with scratch_directory() as directory:
        shared = Shared.made_in(directory)
        with metrics.shared_by_workers(shared.metrics):
            async with task_group() as group:
                slots = [
                    _Slot(settings, listener, loop.create_future(), group, shared)
                    for listener in listeners
                ]
                running = [group.create_task(slot.run()) for slot in slots]
                try:
                    yield Workers(address_of(listeners[0]), slots)
                finally:
                    # If the sockets stayed open, a client would wait for a worker that never
                    # starts.
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
    cannot. The tasks of `group` stop workers that have a successor.
    """

    settings: GatewayConfig
    listener: socket.socket
    first_start: asyncio.Future[Exception | None]
    group: asyncio.TaskGroup
    shared: Shared
    starts: deque[float] = field(default_factory=deque)

    async def run(self) -> None:
        """Keep a worker at the socket. Return if the first one cannot start."""
        try:
            worker = await self._start()
        except (ConfigError, WorkerError) as error:
            self.first_start.set_result(error)
            return
        self.first_start.set_result(None)
        try:
            while True:
                event = await worker.until_it_fails()
                logger.error("worker %s %s; a new worker replaces it", worker.pid, event)
                worker, old = await self._successor(worker), worker
                if worker is not old:
                    self.group.create_task(self._end(old))
        finally:
            await worker.stop()

    async def _start(self) -> Worker:
        return await Worker.start(self.settings, self.listener, self.shared)

    async def _end(self, old: Worker) -> None:
        """End a worker that has a successor."""
        await old.replaced()
        if old.pid is not None:
            metrics.forget(old.pid, self.shared.metrics)

    async def _successor(self, old: Worker) -> Worker:
        """Start another worker at the socket, or return the old one if it is well again.

        The new worker listens before the old one stops. A worker that hung for a moment then loses
        no call, because it stops as usual.
        """
        while True:
            await asyncio.sleep(self._pause())
            try:
                worker = await self._start()
            except (ConfigError, WorkerError) as error:
                logger.error("no worker can start, next attempt soon: %s", error)  # noqa: TRY400 - the message has the reason
                if old.is_well():
                    return old
            else:
                logger.warning("worker %s replaces worker %s", worker.pid, old.pid)
                return worker

    def _pause(self) -> float:
        """Return the seconds before the next start, which grow if starts follow each other."""
        now = time.monotonic()
        while self.starts and now - self.starts[0] > _STARTS_WINDOW:
            self.starts.popleft()
        self.starts.append(now)
        excess = len(self.starts) - _FREE_STARTS
        return _PAUSES[min(excess, len(_PAUSES)) - 1] if excess > 0 else 0.0
