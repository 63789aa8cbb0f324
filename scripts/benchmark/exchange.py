"""One request on a connection of its own, with its answer checked in full."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from scripts.benchmark.answers import Check, WrongAnswerError, check_mcp, check_rest
from scripts.benchmark.http1 import REQUESTS, Answer, find_answer
from scripts.benchmark.jobs import GET, Job

_LIMIT: Final = 10.0
CHECKS: Final[Mapping[str, Check]] = {"rest": check_rest, "mcp": check_mcp}


async def ask_once(address: str, protocol: str, subject: str, job: Job = GET) -> None:
    """Have a job done; `WrongAnswerError` if the answer is not just its operation."""
    async with asyncio.timeout(_LIMIT):
        answer = await _exchange(address, REQUESTS[protocol](address, job, subject))
    if answer.status != 200:
        raise WrongAnswerError(f"{answer.status} {answer.body.decode()}")
    CHECKS[protocol](answer.body, job.operation(subject))


async def _exchange(address: str, request: bytes) -> Answer:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        received = b""
        while (answer := find_answer(received)) is None:
            data = await reader.read(65536)
            if not data:
                raise WrongAnswerError(f"the connection closed after {received!r}")
            received += data
        return answer
    finally:
        writer.close()
