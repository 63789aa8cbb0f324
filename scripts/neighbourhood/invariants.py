"""The invariants that are checked after the faults, when the gateway has had time to recover."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import grpc.aio
import httpx2
from google.longrunning import operations_pb2, operations_pb2_grpc

from scripts.neighbourhood.findings import Findings
from scripts.neighbourhood.load import Load
from scripts.neighbourhood.processes import Gateway, Usage, usage

_RECOVERY: Final = 120.0
"""Seconds after the last fault within which a read must succeed, and what is held must be freed."""
_MEMORY: Final = 40.0
"""Megabytes that a worker may hold beyond the start.

Allocators keep some memory, and a worker that is new has not yet read what the first ones had.
"""
_DESCRIPTORS: Final = 10
_STOP_LIMIT: Final = 25.0
"""Seconds within which the gateway must end."""
_PAGE: Final = 1000
_TRACEBACK: Final = re.compile(r"[ |]*Traceback")
_LAST: Final = 12
"""The number of lines of a traceback that a report has."""


async def check_truth(
    url: str, load: Load, backends: Mapping[str, str], findings: Findings
) -> None:
    """Check that each acknowledged operation is found with its backend's truth, and once."""
    end = time.monotonic() + _RECOVERY
    for backend, address in backends.items():
        async with grpc.aio.insecure_channel(address) as channel:
            truth = {each.name: each for each in await _all(channel)}
        started = [name for name, owner in load.started.items() if owner == backend]
        async with httpx2.AsyncClient(base_url=url, timeout=_RECOVERY) as client:
            for name in started:
                true = truth.get(name.removeprefix(f"//{backend}/"))
                if true is None:
                    findings.violate("no acknowledged start is lost", f"{name} at its backend")
                elif (found := await _read(client, name, end)) != _state(true):
                    text = f"{name}: {found} instead of {_state(true)}"
                    findings.violate("an operation has its backend's truth", text)
        made = Counter(name.partition("/operations/")[0] for name in truth)
        for database, number in made.items():
            if number > 1:
                text = f"{number} operations made {database} on {backend}"
                findings.violate("a start with a request_id happens once", text)


async def _all(channel: grpc.aio.Channel) -> list[Any]:
    """Return all operations of a backend, once each is done."""
    stub: Any = operations_pb2_grpc.OperationsStub(channel)
    operations: list[Any] = []
    token = ""
    while True:
        page = await stub.ListOperations(
            operations_pb2.ListOperationsRequest(page_size=_PAGE, page_token=token)
        )
        for each in page.operations:
            done = each
            while not done.done:
                request = operations_pb2.WaitOperationRequest(name=each.name)
                done = await stub.WaitOperation(request)
            operations.append(done)
        if not (token := page.next_page_token):
            return operations


def _state(operation: Any) -> tuple[bool, int]:
    return operation.done, operation.error.code


async def _read(client: httpx2.AsyncClient, name: str, end: float) -> object:
    """Return the state that the gateway gives; until `end`, try again after an error."""
    while True:
        found: object
        try:
            answer = await client.get("/v1/-", params={"name": name})
            found = f"HTTP {answer.status_code}: {answer.text[:300]}"
            if answer.status_code == 200:
                content = answer.json()
                return content["done"], content.get("error", {}).get("code", 0)
        except httpx2.HTTPError as error:
            found = f"{type(error).__name__}: {error}"
        if time.monotonic() > end:
            return found
        await asyncio.sleep(0.2)


async def check_usage(running: Gateway, before: Usage, findings: Findings) -> None:
    """Check that the workers soon hold about as much as at the start."""
    end = time.monotonic() + _RECOVERY
    while True:
        after = [usage(pid) for pid in running.workers]
        largest = Usage(max(a.memory for a in after), max(a.descriptors for a in after))
        is_back = (
            largest.memory <= before.memory + _MEMORY
            and largest.descriptors <= before.descriptors + _DESCRIPTORS
        )
        if is_back or time.monotonic() > end:
            break
        await asyncio.sleep(0.5)
    findings.counts["megabytes of the largest worker, at the start"] = round(before.memory)
    findings.counts["megabytes of the largest worker, at the end"] = round(largest.memory)
    findings.counts["descriptors of a worker, at the start"] = before.descriptors
    findings.counts["descriptors of a worker, at the end"] = largest.descriptors
    if not is_back:
        findings.violate("memory and descriptors return", f"{largest} after {before}")


async def check_end(running: Gateway, findings: Findings) -> None:
    """Check that SIGTERM ends all processes within the limit."""
    workers, began = running.workers, time.monotonic()
    status = await running.stop(_STOP_LIMIT)
    findings.time("ends by SIGTERM", time.monotonic() - began)
    if status != 0:
        findings.violate("SIGTERM ends the gateway with status 0", f"status {status}")
    if left := [pid for pid in workers if _exists(pid)]:
        findings.violate("no process is left", f"{left}")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def check_log(log: str, findings: Findings) -> None:
    """Check that the log has no traceback. Each exception is reported once, with its last lines."""
    lines = log.splitlines()
    findings.counts["lines of the log"] = len(lines)
    seen: Counter[str] = Counter()
    for number, line in enumerate(lines):
        if _TRACEBACK.match(line):
            end = number + 1
            while end < len(lines) and lines[end].startswith(" "):
                end += 1
            error = lines[end - 1].strip()
            seen[error] += 1
            if seen[error] == 1:
                text = "\n".join(("", lines[number - 1], *lines[max(number, end - _LAST) : end]))
                findings.violate("the log has no traceback", text)
    findings.counts["tracebacks in the log"] = seen.total()
