"""The budget of polls: in which order watches get their turns, and that none is lost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from google.longrunning import operations_pb2

from lro_gateway.principal import ANONYMOUS, Principal, Reader
from lro_gateway.service.budget import Budget, Readers
from lro_gateway.service.verb_requests import ListRequest, NameRequest, WaitRequest
from tests.contrary import Answer, ContraryBackend, answering
from tests.gateways import service_of
from tests.service.watched_job import whole

OFTEN = 500.0
"""Turns per second of the tests in which all polls get a turn."""


def reader(port: int, host: str = "192.0.2.1") -> Reader:
    """Return the reader of an anonymous caller at one connection."""
    return Principal(peer=(host, port)).reader


class Queue:
    """A budget whose present turn is used up, and the order in which polls get later turns.

    The polls begin with the next pass of the event loop, all in this one pass. A timer fires before
    or after a pass. So no poll gets a later turn before the last poll is in the queue, however slow
    the machine is.
    """

    def __init__(self, per_second: float = OFTEN) -> None:
        self.budget = Budget(per_second)
        self.order: list[str] = []
        self.polls: list[asyncio.Task[None]] = []
        self._begun: dict[str, int] = {}

    def ask(self, name: str, readers: Readers, times: int = 1) -> None:
        """Let polls of a watch wait for their turns, from the next pass of the event loop on."""
        if not self.polls:
            self.polls.append(asyncio.create_task(self.budget.turn(Readers())))

        async def poll() -> None:
            self._begun.setdefault(name, len(self.order))
            await self.budget.turn(readers)
            self.order.append(name)

        self.polls += [asyncio.create_task(poll()) for _ in range(times)]

    async def filled(self) -> None:
        """Wait until all polls are in the queue."""
        await asyncio.sleep(0)

    async def cancel(self, begin: int) -> None:
        """Cancel the polls from this one on, and forget them."""
        for poll in self.polls[begin:]:
            poll.cancel()
        await asyncio.gather(*self.polls[begin:], return_exceptions=True)
        del self.polls[begin:]

    async def served(self, name: str) -> int:
        """Return the number of turns from the first of these polls to the end of the last one."""
        async with asyncio.timeout(60):
            await asyncio.gather(*self.polls)
        last = len(self.order) - self.order[::-1].index(name)
        return last - self._begun[name]


def watches(readers: Iterable[Reader]) -> list[Readers]:
    """Return a watch for each reader, in the order in which the watches began."""
    return [Readers(each) for each in readers]


async def test_the_watch_that_began_last_gets_every_second_turn() -> None:
    """Its operation may be a short one. 300 older watches of other connections do not delay it."""
    queue = Queue()
    for each in watches(reader(port) for port in range(300)):
        queue.ask("old", each)
    queue.ask("new", Readers(reader(1000)), times=3)
    assert await queue.served("new") <= 2 * 3


async def test_an_old_watch_gets_its_turn_although_new_ones_come_again_and_again() -> None:
    """A client that ends and begins watches on one connection delays its own watches most."""
    queue = Queue()
    old = Readers(reader(1))
    churn = watches([reader(2)] * 300)
    queue.ask("old", old)
    for each in churn:
        queue.ask("churn", each)
    assert await queue.served("old") <= 2 * 2


async def test_the_connections_of_one_address_take_turns() -> None:
    """300 watches of one connection delay a watch of another connection by one turn of each."""
    queue = Queue()
    modest = Readers(reader(2))
    for each in watches([reader(1)] * 300):
        queue.ask("many", each)
    queue.ask("one", modest, times=3)
    assert await queue.served("one") <= 4 * 3


async def test_addresses_take_turns_before_connections() -> None:
    """300 connections of one address delay another address by one turn of each."""
    queue = Queue()
    modest = Readers(reader(1, "192.0.2.2"))
    for each in watches(reader(port) for port in range(300)):
        queue.ask("many", each)
    queue.ask("one", modest, times=3)
    assert await queue.served("one") <= 4 * 3


async def test_an_identified_caller_has_one_share_for_all_its_connections() -> None:
    """Its address does not matter, and callers at one address do not share."""
    queue = Queue()
    modest = Readers(Principal("ann", peer=("192.0.2.1", 1)).reader)
    for port in range(300):
        queue.ask("many", Readers(Principal("bob", peer=("192.0.2.1", port)).reader))
    queue.ask("one", modest, times=3)
    assert await queue.served("one") <= 4 * 3


@pytest.mark.parametrize("joins_late", [False, True])
async def test_a_watch_polls_in_the_turn_of_whichever_reader_is_next(joins_late: bool) -> None:
    """A reader may join while the poll waits for its turn."""
    queue = Queue()
    shared = Readers(reader(1))
    for each in watches([reader(1)] * 300):
        queue.ask("many", each)
    if not joins_late:
        shared.join(reader(2))
    queue.ask("shared", shared)
    await queue.filled()
    if joins_late:
        shared.join(reader(2))
    assert await queue.served("shared") <= 4


async def test_a_watch_whose_operation_will_change_soon_counts_as_new() -> None:
    """Its poll may wait already."""
    queue = Queue()
    cancelled = Readers(reader(1))
    for each in watches(reader(1) for _ in range(300)):
        queue.ask("many", each)
    queue.ask("cancelled", cancelled)
    await queue.filled()
    cancelled.renew()
    assert await queue.served("cancelled") <= 2


async def test_a_cancelled_wait_for_a_turn_uses_no_turn() -> None:
    """1000 cancelled polls in the queue do not delay the next poll."""
    queue = Queue(per_second=2)
    queue.ask("left", Readers(reader(1)), times=1000)
    await queue.filled()
    for poll in queue.polls:
        poll.cancel()
    async with asyncio.timeout(60):
        await queue.budget.turn(Readers(reader(2)))
    assert queue.order == []


async def test_cancelled_polls_do_not_stay_in_memory() -> None:
    """Watches that come and go must not fill the queue while other polls wait."""
    queue = Queue(per_second=0.001)
    queue.ask("waits", Readers(reader(1)))
    for _ in range(10):
        queue.ask("left", Readers(reader(2)), times=1000)
        await queue.filled()
        await queue.cancel(2)
    gc.collect()
    waiting = [each for each in gc.get_objects() if type(each).__name__ == "_Turn"]
    await queue.cancel(0)
    # asyncio keeps the errors of the last 1000 tasks, and those keep the frames.
    assert len(waiting) < 2000


async def test_every_poll_gets_its_turn() -> None:
    """Of 600 polls of 30 connections, 200 are cancelled, and 400 are made."""
    queue = Queue(per_second=5000)
    for number in range(600):
        queue.ask(str(number), Readers(reader(number % 30)))
    await queue.filled()
    for poll in queue.polls[1::3]:
        poll.cancel()
    async with asyncio.timeout(60):
        await asyncio.gather(*queue.polls, return_exceptions=True)
    cancelled = sum(poll.cancelled() for poll in queue.polls)
    assert sorted(queue.order) == sorted({*queue.order})
    assert len(queue.order) + cancelled == 600


async def test_first_looks_and_lists_wait_for_their_turns_and_plain_reads_do_not() -> None:
    """The one turn of the backend goes to the first watch. A read by a caller is no poll."""

    async def get(request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.Operation(name=request.name)
        return answer

    listed = operations_pb2.ListOperationsResponse(operations=[{"name": "jobs/1"}])
    handlers = {"GetOperation": get, "ListOperations": answering(listed)}
    async with (
        ContraryBackend.open(handlers) as backend,
        service_of(backend.target, polls_per_second=0.001, freshness="0s") as service,
        asyncio.timeout(60),
        aclosing(service.watch(ANONYMOUS, NameRequest("jobs/1"))) as first,
    ):
        await anext(first)
        lists = [
            service.watch_list(ANONYMOUS, ListRequest(filter=f"f={number}"), whole, every=60.0)
            for number in range(20)
        ]
        watches = [service.watch(ANONYMOUS, NameRequest(f"jobs/{number}")) for number in range(20)]
        looks = [asyncio.ensure_future(anext(each)) for each in (*lists, *watches[2:])]
        read = await service.get(ANONYMOUS, NameRequest("jobs/9"))
        calls = (backend.count("GetOperation"), backend.count("ListOperations"))
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
    assert (read.done, calls) == (False, (2, 0))


async def test_a_wait_that_gets_no_turn_reads_at_its_end() -> None:
    """The caller gets the state at the end of the timeout, as always."""
    running = operations_pb2.Operation(name="jobs/1")
    async with (
        ContraryBackend.open({"GetOperation": answering(running)}) as backend,
        service_of(backend.target, polls_per_second=0.001, freshness="0s") as service,
        asyncio.timeout(60),
        aclosing(service.watch(ANONYMOUS, NameRequest("jobs/1"))) as first,
    ):
        await anext(first)
        request = WaitRequest("jobs/1", timedelta(seconds=0.1))
        assert not (await service.wait(ANONYMOUS, request)).done
        assert backend.count("GetOperation") == 2
