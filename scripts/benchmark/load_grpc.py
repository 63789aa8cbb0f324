"""A program: keeps a number of callers of one grpc.aio channel busy, and checks every answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc.aio
import uvloop
from google.longrunning import operations_pb2, operations_pb2_grpc

from scripts.benchmark.answers import WrongAnswerError, operation_name
from scripts.benchmark.lines import Message, answer_lines, say
from scripts.benchmark.load import Tally, drained


async def _call(stub: Any, name: str, tally: Tally) -> None:
    request = operations_pb2.GetOperationRequest(name=name)
    while True:
        sent = time.perf_counter()
        answer = await stub.GetOperation(request, timeout=10)
        if answer.name != name or answer.done or not answer.HasField("metadata"):
            raise WrongAnswerError(str(answer))
        if not tally.count(sent):
            return


async def measure(order: Message) -> Message:
    """Measure `address` with so many `connections`, which are callers here, for `seconds`."""
    async with grpc.aio.insecure_channel(order["address"]) as channel:
        stub = operations_pb2_grpc.OperationsStub(channel)
        tally = Tally(order["warm_up"], order["seconds"])
        callers = (_call(stub, operation_name(n), tally) for n in range(order["connections"]))
        return await drained(tally, asyncio.gather(*callers))


async def main() -> None:
    """Measure what each line orders."""
    say({"ready": True})
    await answer_lines(measure)


if __name__ == "__main__":
    uvloop.run(main())
