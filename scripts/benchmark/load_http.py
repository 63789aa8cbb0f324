"""A program: keeps a number of connections busy with prebuilt requests, and checks every answer."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import uvloop

from scripts.benchmark.answers import WrongAnswerError
from scripts.benchmark.http1 import REQUESTS, find_answer
from scripts.benchmark.jobs import JOBS
from scripts.benchmark.lines import Message, answer_lines, say
from scripts.benchmark.load import Tally, drained


class Connection(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last has come."""

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
        # uvloop's transports write but are not declared to.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._send(self._transport)

    def _send(self, transport: asyncio.WriteTransport) -> None:
        self._sent = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take what came; when it is the whole answer, check and count it."""
        self._received += data
        answer = find_answer(self._received)
        if answer is None or self._transport is None or self.done.done():
            return
        self._received.clear()
        right = answer.status == 200 and self._wanted in answer.body
        if not right or b'"isError":true' in answer.body:
            self._finish(WrongAnswerError(f"{answer.status} {answer.body.decode()}"))
        elif self._tally.count(self._sent):
            self._send(self._transport)
        else:
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail unless the work was done."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the server closed a connection"))

    def _finish(self, error: Exception | None) -> None:
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)
        if self._transport:
            self._transport.close()


async def measure(order: Message) -> Message:
    """Measure a `job` at `address` over `protocol` with so many `connections` for `seconds`."""
    address = order["address"]
    host, _, port = address.rpartition(":")
    make_request, job = REQUESTS[order["protocol"]], JOBS[order["job"]]
    tally = Tally(order["warm_up"], order["seconds"])
    loop = asyncio.get_running_loop()
    connections = []
    for number in range(order["connections"]):
        subject = job.subject(number)
        request, name = make_request(address, job, subject), job.operation(subject).name
        connection = Connection(request, name, tally)
        connections.append(connection)
        await loop.create_connection(lambda c=connection: c, host, int(port))  # type: ignore[misc]  # a default argument has no type
    return await drained(tally, asyncio.gather(*(connection.done for connection in connections)))


async def main() -> None:
    """Measure what each line orders."""
    say({"ready": True})
    await answer_lines(measure)


if __name__ == "__main__":
    uvloop.run(main())
