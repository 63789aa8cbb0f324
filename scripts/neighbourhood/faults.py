"""The faults of a run, each of which begins and ends again."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from scripts.neighbourhood.findings import Findings
from scripts.neighbourhood.load import Load
from scripts.neighbourhood.processes import (
    START_LIMIT,
    Backend,
    Gateway,
    limit,
    usage,
    virtual_memory,
)
from scripts.neighbourhood.proxy import Mode, Proxy

_LONGEST: Final = 3.0
"""Seconds that a fault lasts at most, apart from a replacement of a worker."""
_PAUSE: Final = 1.0
"""Seconds between two faults."""
_FEW: Final = 3
"""The number of file descriptors that a limited worker may open."""
_LITTLE: Final = 16 * 2**20
"""Bytes of virtual memory that a limited worker may add."""

Fault = Callable[[], Awaitable[None]]


@dataclass
class Faults:
    """Everything that can be hurt: the proxy, the shaky backend, the workers and their machine."""

    proxy: Proxy
    backend: Backend
    gateway: Gateway
    workers: int
    load: Load
    findings: Findings
    chance: random.Random

    async def until(self, end: float) -> None:
        """Let one fault after another happen until a time of the loop. Each kind comes in turn."""
        loop = asyncio.get_running_loop()
        while True:
            faults = self._all()
            self.chance.shuffle(faults)
            for name, fault in faults:
                if loop.time() >= end:
                    return
                self.load.fault = name
                self.findings.counts[f"faults, {name}"] += 1
                await fault()
                await asyncio.sleep(_PAUSE * self.chance.random())

    async def workers_listen(self) -> None:
        """Wait until each worker that has ended or hangs has a successor, and the old ones end."""
        await _until(lambda: len(self.gateway.workers) == self.workers and self._all_listen())

    def _all(self) -> list[tuple[str, Fault]]:
        kinds = [mode for mode in Mode if mode is not Mode.PASS]
        return [
            *((f"the proxy {mode.value}", self._by_proxy(mode)) for mode in kinds),
            ("the backend is killed", self._kill_backend),
            ("the backend is stopped", self._stop_backend),
            ("a worker is killed", self._by_signal(signal.SIGKILL)),
            ("a worker is stopped", self._by_signal(signal.SIGSTOP)),
            ("a worker is told to stop", self._by_signal(signal.SIGTERM)),
            ("file descriptors are limited", self._limit_descriptors),
            ("memory is limited", self._limit_memory),
        ]

    async def _last(self) -> None:
        await asyncio.sleep(_LONGEST * self.chance.random())

    def _by_proxy(self, mode: Mode) -> Fault:
        async def fault() -> None:
            self.proxy.turn(mode)
            await self._last()
            self.proxy.turn(Mode.PASS)

        return fault

    async def _kill_backend(self) -> None:
        await self.backend.kill()
        await self._last()
        await self.backend.start()

    async def _stop_backend(self) -> None:
        self.backend.signal(signal.SIGSTOP)
        await self._last()
        self.backend.signal(signal.SIGCONT)

    def _by_signal(self, number: signal.Signals) -> Fault:
        async def fault() -> None:
            os.kill(self._victim(), number)

        return self._of_workers(fault)

    async def _limit_descriptors(self) -> None:
        victims = self.gateway.workers

        async def fault() -> None:
            for pid in victims:
                limit(pid, resource.RLIMIT_NOFILE, usage(pid).descriptors + _FEW)
            await self._last()
            for pid in set(victims) & set(self.gateway.workers):
                limit(pid, resource.RLIMIT_NOFILE, None)

        await self._of_workers(fault)()

    async def _limit_memory(self) -> None:
        victim = self._victim()

        async def fault() -> None:
            limit(victim, resource.RLIMIT_AS, virtual_memory(victim) + _LITTLE)
            await self._last()
            if victim in self.gateway.workers:
                limit(victim, resource.RLIMIT_AS, None)

        await self._of_workers(fault)()

    def _victim(self) -> int:
        return self.chance.choice(self.gateway.workers)

    def _of_workers(self, fault: Fault) -> Fault:
        """Return a fault in which connections may break, and which ends with all workers well."""

        async def disturbed() -> None:
            self.load.phase += 1
            before = self._replacements()
            await fault()
            if fault.__qualname__.startswith("Faults._by_signal"):
                await self._replaced(before)
            await self.workers_listen()
            self.load.phase += 1

        return disturbed

    async def _replaced(self, before: int) -> None:
        await _until(lambda: self._replacements() > before)

    def _replacements(self) -> int:
        return self.gateway.log.count(" replaces worker ")

    def _all_listen(self) -> bool:
        log = self.gateway.log
        return log.count("a new worker replaces it") <= log.count(" replaces worker ")


async def _until(condition: Callable[[], bool]) -> None:
    """Wait until other processes have reached a state, which no event tells."""
    async with asyncio.timeout(2 * START_LIMIT):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.1)
