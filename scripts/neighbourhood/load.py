"""The clients of a run: they start, read, wait and watch, and some of them leave halfway."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from scripts.neighbourhood.findings import Findings

SHAKY: Final = "shaky"
HEALTHY: Final = "healthy"
_PAUSE: Final = 0.1
"""Seconds between two actions of a client."""
_ATTEMPTS: Final = 3
"""The number of times that a client sends a start, with the same request_id."""
_WAIT: Final = 2
"""Seconds that a wait may take."""
_ANSWER_LIMIT: Final = 60.0
"""Seconds after which any call counts as one that hangs.

A call may meet a worker that hangs. The parent starts another one, and then kills the one that
hangs, which ends the call. On a busy machine a start takes 10 s.
"""
_UNBROKEN: Final = "connections break only while workers or the machine fail"
_WRONG: Final = {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "FAILED_PRECONDITION"}
_GATEWAY_FAULT: Final = "INTERNAL"
"""The reason of an error that is the gateway's own fault."""


@dataclass
class Load:
    """The running clients; `started` are the operations whose names a client has got.

    `fault` is the latest fault. `phase` grows when workers or the machine under them begin to fail,
    and when they are well again. It is odd meanwhile, because connections may then be reset.
    """

    url: str
    findings: Findings
    chance: random.Random
    started: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    phase: int = 0
    fault: str = "none"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all clients until the context ends."""
        actions: tuple[Callable[[httpx2.AsyncClient], Awaitable[None]], ...] = (
            *(self._start,) * 3,
            *(self._read,) * 3,
            *(self._wait,) * 4,
            *(self._watch,) * 3,
            self._list,
            self._leave_in_body,
            self._leave_unread,
            self._probe_livez,
            self._probe_healthy,
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._repeat(action)) for action in actions]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def start_on(self, client: httpx2.AsyncClient, backend: str) -> None:
        """Start an operation. Send it again with the same request_id if there is no answer."""
        database, request_id = f"d-{uuid.uuid4().hex[:12]}", str(uuid.uuid4())
        body = {"databaseId": database, "rowCount": "20", "requestId": request_id}
        self.asked.add(database)
        for _ in range(_ATTEMPTS):
            answer = await self._call(client, "POST", f"/v1/databases?backend={backend}", body)
            if answer is not None and answer.status_code == 200:
                self.started[answer.json()["name"]] = backend
                self.findings.counts[f"starts acknowledged, {backend}"] += 1
                return
        self.findings.counts[f"starts given up, {backend}"] += 1

    async def _repeat(self, action: Callable[[httpx2.AsyncClient], Awaitable[None]]) -> None:
        # Each call makes a new connection, so that all workers get some.
        limits = httpx2.Limits(max_keepalive_connections=0)
        async with httpx2.AsyncClient(
            base_url=self.url, timeout=_ANSWER_LIMIT, limits=limits
        ) as client:
            while True:
                await action(client)
                await asyncio.sleep(_PAUSE)

    async def _call(
        self, client: httpx2.AsyncClient, method: str, path: str, body: Any = None
    ) -> httpx2.Response | None:
        """Return the answer of a call, or None if the connection broke."""
        phase, began = self.phase, time.monotonic()
        try:
            answer = await client.request(method, path, json=body)
        except httpx2.TimeoutException:
            self.findings.violate("no call hangs", f"{method} {path}: {_ANSWER_LIMIT:g} s")
            return None
        except httpx2.HTTPError as error:
            self.findings.counts["connections broken"] += 1
            if self._was_calm_since(phase):
                text = f"{method} {path}: {type(error).__name__}: {error} ({self.fault})"
                self.findings.violate(_UNBROKEN, text)
            return None
        finally:
            self.findings.time(f"calls, {_kind(path)}", time.monotonic() - began)
        if answer.status_code >= 400:
            self._check_error(f"{method} {path}", answer)
        return answer

    def _was_calm_since(self, phase: int) -> bool:
        """Return whether workers and machine have been well since a phase, and were then."""
        return phase == self.phase and not phase % 2

    def _check_error(self, what: str, answer: httpx2.Response) -> None:
        try:
            error = answer.json()["error"]
            reasons = [detail.get("reason") for detail in error.get("details", ())]
        except (ValueError, KeyError, TypeError):
            self.findings.violate("every error is Google's JSON", f"{what}: {answer.text[:200]}")
            return
        self.findings.counts[f"errors, {error['status']}"] += 1
        if error["status"] in _WRONG:
            self.findings.violate(
                "a right call is not refused as wrong", f"{what}: {error['message']} ({self.fault})"
            )
        if _GATEWAY_FAULT in reasons:
            self.findings.violate("no error is a fault of the gateway", f"{what}: {error}")

    def _any(self) -> str | None:
        return self.chance.choice(list(self.started)) if self.started else None

    async def _start(self, client: httpx2.AsyncClient) -> None:
        await self.start_on(client, self.chance.choice((SHAKY, SHAKY, HEALTHY)))

    async def _read(self, client: httpx2.AsyncClient) -> None:
        if (name := self._any()) is not None:
            await self._call(client, "GET", f"/v1/-?name={name}")

    async def _wait(self, client: httpx2.AsyncClient) -> None:
        if (name := self._any()) is not None:
            await self._call(client, "POST", f"/v1/-:wait?name={name}", {"timeout": f"{_WAIT}s"})

    async def _list(self, client: httpx2.AsyncClient) -> None:
        await self._call(client, "GET", "/v1/operations?pageSize=20&returnPartialSuccess=true")

    async def _watch(self, client: httpx2.AsyncClient) -> None:
        """Read some events, then leave."""
        if (name := self._any()) is None:
            return
        with suppress(httpx2.HTTPError, TimeoutError):
            async with (
                asyncio.timeout(3 * self.chance.random()),
                client.stream("GET", f"/v1/-:watch?name={name}") as stream,
            ):
                async for _ in stream.aiter_lines():
                    self.findings.counts["lines of events"] += 1

    async def _leave_in_body(self, _client: httpx2.AsyncClient) -> None:
        path = self.chance.choice(("/v1/databases", "/v1/-:cancel", "/mcp"))
        rest = "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        await self._raw(f"POST {path}", rest, 0.1)

    async def _leave_unread(self, _client: httpx2.AsyncClient) -> None:
        await self._raw("GET /v1/operations:watch", "\r\n", 3)

    async def _raw(self, line: str, rest: str, seconds: float) -> None:
        """Send a part of a request, read nothing, and leave by a reset."""
        url = httpx2.URL(self.url)
        try:
            _, writer = await asyncio.open_connection(url.host, url.port, limit=1)
        except OSError:
            return
        try:
            writer.write(f"{line} HTTP/1.1\r\nHost: {url.host}\r\n{rest}".encode())
            await asyncio.sleep(seconds * self.chance.random())
        finally:
            writer.transport.abort()
        self.findings.counts["clients that left halfway"] += 1

    async def _probe_livez(self, client: httpx2.AsyncClient) -> None:
        await self._probe(client, "/livez", "/livez answers")

    async def _probe_healthy(self, client: httpx2.AsyncClient) -> None:
        """Read an operation of the healthy backend."""
        names = [name for name, backend in self.started.items() if backend == HEALTHY]
        if names:
            path = f"/v1/-?name={self.chance.choice(names)}"
            await self._probe(client, path, "the healthy backend is served meanwhile")

    async def _probe(self, client: httpx2.AsyncClient, path: str, invariant: str) -> None:
        phase, began = self.phase, time.monotonic()
        answer = await self._call(client, "GET", path)
        took = time.monotonic() - began
        if self._was_calm_since(phase):
            self.findings.time(f"probes in calm, {_kind(path)}", took)
            if answer is None or answer.status_code != 200:
                text = "no answer" if answer is None else answer.text[:300]
                self.findings.violate(invariant, f"GET {path}: {text} ({self.fault})")


def _kind(path: str) -> str:
    for kind in (":wait", "/livez", "/v1/databases", "/v1/operations"):
        if kind in path:
            return kind
    return "read"
