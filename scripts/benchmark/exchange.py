"""Requests one by one, with their answers whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from scripts.benchmark.answers import Check, WrongAnswerError, check_mcp, check_rest
from scripts.benchmark.http1 import REQUESTS, Answer, find_answer
from scripts.benchmark.jobs import GET, Job

_LIMIT: Final = 10.0
CHECKS: Final[Mapping[str, Check]] = {"rest": check_rest, "mcp": check_mcp}


class Exchange:
    """One connection, for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @staticmethod
    @asynccontextmanager
    async def open(address: str) -> AsyncIterator[Exchange]:
        """Connect, until the context ends."""
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield Exchange(reader, writer)
        finally:
            writer.close()

    async def ask(self, request: bytes) -> Answer:
        """Send a request and return its answer; `WrongAnswerError` unless its status is 200."""
        async with asyncio.timeout(_LIMIT):
            self._writer.write(request)
            received = bytearray()
            while (answer := find_answer(received)) is None:
                data = await self._reader.read(65536)
                if not data:
                    raise WrongAnswerError(f"the connection closed after {bytes(received)!r}")
                received += data
        if answer.status != 200:
            raise WrongAnswerError(f"{answer.status} {answer.body.decode()}")
        return answer


async def ask_once(address: str, protocol: str, subject: str, job: Job = GET) -> None:
    """Have a job done; `WrongAnswerError` if the answer is not just its operation."""
    async with Exchange.open(address) as exchange:
        answer = await exchange.ask(REQUESTS[protocol](address, job, subject))
    CHECKS[protocol](answer.body, job.operation(subject))
