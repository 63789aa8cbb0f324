"""Reads: simultaneous reads of one operation share one call of its backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2

from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest
from tests.contrary import Answer, ContraryBackend, Handler, acknowledging, answering, refusing
from tests.gateways import service_of

RUNNING = operations_pb2.Operation(name="jobs/1")


@asynccontextmanager
async def reading_from(
    handlers: Mapping[str, Handler], **settings: Any
) -> AsyncIterator[tuple[OperationService, ContraryBackend]]:
    """Open a backend and the service over it."""
    async with (
        ContraryBackend.open(handlers) as backend,
        service_of(backend.target, **settings) as service,
    ):
        yield service, backend


async def test_finished_operations_are_kept_up_to_a_total_size_in_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Results may be large, and thousands of large results would fill the memory."""
    monkeypatch.setattr("lro_gateway.service.reads._MIN_SIZE", 1)
    monkeypatch.setattr("lro_gateway.service.reads._DONE_FRESHNESS", 60.0)

    async def large(request: Any, _context: Any) -> Answer:
        result = any_pb2.Any(type_url="x/y", value=bytes(1000))
        answer: Answer = operations_pb2.Operation(name=request.name, done=True, response=result)
        return answer

    limits = {"kept_bytes": 7000}
    async with reading_from({"GetOperation": large}, limits=limits) as (service, backend):
        for number in (1, 2, 3, 1, 4, 1, 3, 4, 2):
            await service.get(ANONYMOUS, NameRequest(f"jobs/{number}"))
        read = [call.request.name for call in backend.calls if call.method == "GetOperation"]
    assert read == [f"jobs/{number}" for number in (1, 2, 3, 4, 2)]


class Held:
    """A handler that sets `called`, and answers after the test sets `let_go`."""

    def __init__(self, answer: Handler) -> None:
        self.called = asyncio.Event()
        self.let_go = asyncio.Event()
        self._answer = answer

    async def __call__(self, request: Any, context: Any) -> Answer:
        self.called.set()
        await self.let_go.wait()
        return await self._answer(request, context)


async def get(service: OperationService) -> Operation:
    """Get operation `jobs/1`."""
    return await service.get(ANONYMOUS, NameRequest("jobs/1"))


async def test_simultaneous_callers_share_one_call_and_its_answer() -> None:
    """50 callers get the same object."""
    held = Held(answering(RUNNING))
    async with reading_from({"GetOperation": held}) as (service, backend):
        callers = [asyncio.create_task(get(service)) for _ in range(50)]
        await held.called.wait()
        held.let_go.set()
        answers = await asyncio.gather(*callers)
    assert {id(each) for each in answers} == {id(answers[0])}
    assert backend.count("GetOperation") == 1


async def test_simultaneous_callers_share_one_error() -> None:
    """Each of them gets the backend's error from one call."""
    held = Held(refusing(grpc.StatusCode.NOT_FOUND, "no such job"))
    async with reading_from({"GetOperation": held}) as (service, backend):
        callers = [asyncio.create_task(get(service)) for _ in range(5)]
        await held.called.wait()
        held.let_go.set()
        ends = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(end) for end in ends] == ["NOT_FOUND: no such job"] * 5
    assert backend.count("GetOperation") == 1


async def test_a_caller_that_leaves_does_not_end_the_reads_of_the_others() -> None:
    """Its call is cancelled, and one of the others makes a new call."""
    held = Held(answering(RUNNING))
    async with reading_from({"GetOperation": held}) as (service, _):
        first = asyncio.create_task(get(service))
        await held.called.wait()
        other = asyncio.create_task(get(service))
        await asyncio.sleep(0)
        first.cancel()
        held.let_go.set()
        assert (await other).name == "jobs/1"
        with pytest.raises(asyncio.CancelledError):
            await first


@pytest.mark.parametrize(("freshness", "calls"), [("30s", 1), ("0s", 3)])
async def test_a_state_is_reused_while_it_is_fresh(freshness: str, calls: int) -> None:
    """A freshness of 0 turns reuse off."""
    handlers = {"GetOperation": answering(RUNNING)}
    async with reading_from(handlers, freshness=freshness) as (service, backend):
        for _ in range(3):
            await get(service)
    assert backend.count("GetOperation") == calls


@pytest.mark.parametrize("change", ["cancel", "delete"])
async def test_a_changed_operation_is_read_again(change: str) -> None:
    """A cancel or a delete drops the kept state, even if it is fresh."""
    handlers: dict[str, Handler] = {
        "GetOperation": answering(RUNNING),
        "CancelOperation": acknowledging(),
        "DeleteOperation": acknowledging(),
    }
    async with reading_from(handlers, freshness="30s") as (service, backend):
        await get(service)
        await getattr(service, change)(ANONYMOUS, NameRequest("jobs/1"))
        await get(service)
    assert backend.count("GetOperation") == 2


async def test_an_unchanged_message_keeps_the_json_that_was_made_of_it() -> None:
    """The second read returns the same message, so its JSON is not made again."""
    async with reading_from({"GetOperation": answering(RUNNING)}, freshness="0.001s") as (
        service,
        _,
    ):
        first = await get(service)
        printed = first.to_json()
        again = first
        while again is first:
            again = await get(service)
    assert again is not first
    assert again.to_json() is printed
