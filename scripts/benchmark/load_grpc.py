"""A program: keeps a number of callers of one grpc.aio channel busy, and checks every answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc.aio
import uvloop
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.json_format import ParseDict

from lro_gateway.demo.v1 import database_admin_pb2, database_admin_pb2_grpc
from scripts.benchmark.answers import WrongAnswerError
from scripts.benchmark.jobs import JOBS, START, Job
from scripts.benchmark.lines import Message, answer_lines, say
from scripts.benchmark.load import Tally, drained


def _rpc(channel: grpc.aio.Channel, job: Job) -> tuple[Any, type[Any]]:
    """Return the RPC of a job, and the class of its request."""
    if job is START:
        admin: Any = database_admin_pb2_grpc.DatabaseAdminStub(channel)
        return admin.CreateDatabase, database_admin_pb2.CreateDatabaseRequest
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
    """Measure a `job` at `address` with so many `connections`, callers here, for `seconds`."""
    job = JOBS[order["job"]]
    async with grpc.aio.insecure_channel(order["address"]) as channel:
        rpc, request_class = _rpc(channel, job)
        tally = Tally(order["warm_up"], order["seconds"])
        callers = []
        for number in range(order["connections"]):
            subject = job.subject(number)
            request = ParseDict(job.arguments(subject), request_class())
            callers.append(_call(rpc, request, job.operation(subject), tally))
        return await drained(tally, asyncio.gather(*callers))


async def main() -> None:
    """Measure what each line orders."""
    say({"ready": True})
    await answer_lines(measure)


if __name__ == "__main__":
    uvloop.run(main())
