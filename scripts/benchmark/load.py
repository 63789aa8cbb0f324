"""A program: the load generator, which sends requests and checks every answer.

Each connection sends its next request as soon as it has the answer to the last one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from typing import Any, Final, cast

import grpc.aio
import uvloop
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.json_format import ParseDict

from lro_gateway.demo.v1 import database_admin_pb2, database_admin_pb2_grpc
from scripts.benchmark.processes import Message, answer_lines
from scripts.benchmark.requests import (
    JOBS,
    START,
    Job,
    WrongAnswerError,
    find_answer,
    host_and_port,
    request_of,
)

_MOST_ANSWERS: Final = 200_000
_END_LIMIT: Final = 15.0
"""Seconds that the last answers may take after the measurement has ended."""


@dataclass
class Tally:
    """The answers of one measurement, which begins after `warm_up` and lasts for `seconds`."""

    warm_up: float
    seconds: float
    answers: int = 0
    latencies: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._begin = time.perf_counter() + self.warm_up
        self._end = self._begin + self.seconds

    def count(self, sent: float) -> bool:
        """Count the answer to a request of the time `sent`. Return whether to send another one."""
        now = time.perf_counter()
        self.answers += 1
        if self._begin <= now <= self._end:
            self.latencies.append(now - sent)
        return now < self._end and self.answers < _MOST_ANSWERS

    async def report(self, work: Awaitable[object]) -> Message:
        """Wait until all connections have ended; return the figures, with times in milliseconds."""
        async with asyncio.timeout(self.warm_up + self.seconds + _END_LIMIT):
            await work
        if len(self.latencies) < 2:
            raise RuntimeError(f"only {len(self.latencies)} answers in {self.seconds:g} s")
        percentiles = quantiles(self.latencies, n=100, method="inclusive")
        return {
            "answers": self.answers,
            "per_second": len(self.latencies) / self.seconds,
            "p50_ms": percentiles[49] * 1000,
            "p99_ms": percentiles[98] * 1000,
        }


class Connection(asyncio.Protocol):
    """One HTTP connection, which sends the same request again and again."""

    def __init__(self, request: bytes, name: str, tally: Tally) -> None:
        self._request = request
        self._wanted = f'"{name}"'.encode()
        self._tally = tally
        self._received = bytearray()
        self._sent = 0.0
        self._transport: asyncio.WriteTransport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        # uvloop's transports have a method `write`, but their type does not declare it.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._send(self._transport)

    def _send(self, transport: asyncio.WriteTransport) -> None:
        self._sent = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Collect the answer; check and count it when it is complete."""
        self._received += data
        answer = find_answer(self._received)
        if answer is None or self._transport is None or self.done.done():
            return
        self._received.clear()
        right = answer.status == 200 and self._wanted in answer.body
        if not right or b'"isError":true' in answer.body:
            self.done.set_exception(WrongAnswerError(f"{answer.status} {answer.body.decode()}"))
            self._transport.close()
        elif self._tally.count(self._sent):
            self._send(self._transport)
        else:
            self.done.set_result(None)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if the server closed the connection before the measurement ended."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the server closed a connection"))


async def _measure_http(order: Message, job: Job, tally: Tally) -> Message:
    loop, address, connections = asyncio.get_running_loop(), order["address"], []
    for subject in _subjects(order, job):
        request = request_of(order["protocol"], address, job, subject, order["token"])
        make = partial(Connection, request, job.operation(subject).name, tally)
        connections.append((await loop.create_connection(make, *host_and_port(address)))[1])
    return await tally.report(asyncio.gather(*(connection.done for connection in connections)))


async def _measure_grpc(order: Message, job: Job, tally: Tally) -> Message:
    """Measure concurrent callers of one gRPC channel; `connections` is their number."""
    async with grpc.aio.insecure_channel(order["address"]) as channel:
        rpc, request_class = _rpc(channel, job)
        callers = []
        for subject in _subjects(order, job):
            request = ParseDict(job.arguments(subject), request_class())
            callers.append(_call(rpc, request, job.operation(subject), tally))
        return await tally.report(asyncio.gather(*callers))


def _subjects(order: Message, job: Job) -> list[str]:
    return [job.subject(number) for number in range(order["connections"])]


def _rpc(channel: grpc.aio.Channel, job: Job) -> tuple[Any, type[Any]]:
    """Return the RPC of a job, and the class of its request."""
    if job is START:
        databases: Any = database_admin_pb2_grpc.DatabaseAdminStub(channel)
        return databases.CreateDatabase, database_admin_pb2.CreateDatabaseRequest
    operations: Any = operations_pb2_grpc.OperationsStub(channel)
    return operations.GetOperation, operations_pb2.GetOperationRequest


async def _call(rpc: Any, request: Any, wanted: Any, tally: Tally) -> None:
    while True:
        sent = time.perf_counter()
        answer = await rpc(request, timeout=10)
        if answer != wanted:
            raise WrongAnswerError(str(answer))
        if not tally.count(sent):
            return


async def measure(order: Message) -> Message:
    """Measure the job that the order names.

    The order also has the address, the protocol, the number of connections and the seconds.
    """
    by_protocol = _measure_grpc if order["protocol"] == "grpc" else _measure_http
    tally = Tally(order["warm_up"], order["seconds"])
    return await by_protocol(order, JOBS[order["job"]], tally)


if __name__ == "__main__":
    uvloop.run(answer_lines(measure))
