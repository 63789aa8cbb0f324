"""Reads of one operation at one time are one call of its backend."""

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


async def test_finished_operations_are_known_up_to_so_many_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Results may be large, and thousands of them would fill the memory."""
    monkeypatch.setattr("lro_gateway.service.reads._MAX_BYTES", 3500)
    monkeypatch.setattr("lro_gateway.service.reads._MIN_SIZE", 1)

    async def large(request: Any, _context: Any) -> Answer:
        result = any_pb2.Any(type_url="x/y", value=bytes(1000))
        answer: Answer = operations_pb2.Operation(name=request.name, done=True, response=result)
        return answer

    async with reading_from({"GetOperation": large}) as (service, backend):
        for number in (1, 2, 3, 1, 4, 1, 3, 4, 2):
            await service.get(ANONYMOUS, NameRequest(f"jobs/{number}"))
        asked = [call.request.name for call in backend.calls if call.method == "GetOperation"]
    assert asked == [f"jobs/{number}" for number in (1, 2, 3, 4, 2)]


class Held:
    """A handler that answers once a test lets it; it counts its calls."""

    def __init__(self, answer: Handler) -> None:
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self._answer = answer

    async def __call__(self, request: Any, context: Any) -> Answer:
        self.begun.set()
        await self.let_go.wait()
        return await self._answer(request, context)


async def get(service: OperationService) -> Operation:
    """Get the one operation."""
    return await service.get(ANONYMOUS, NameRequest("jobs/1"))


async def test_callers_at_one_time_share_one_call_and_its_answer() -> None:
    """However many they are."""
    held = Held(answering(RUNNING))
    async with reading_from({"GetOperation": held}) as (service, backend):
        callers = [asyncio.create_task(get(service)) for _ in range(50)]
        await held.begun.wait()
        held.let_go.set()
        answers = await asyncio.gather(*callers)
    assert {id(each) for each in answers} == {id(answers[0])}
    assert backend.count("GetOperation") == 1


async def test_callers_at_one_time_share_one_refusal() -> None:
    """It is the backend's, for each of them."""
    held = Held(refusing(grpc.StatusCode.NOT_FOUND, "no such job"))
    async with reading_from({"GetOperation": held}) as (service, backend):
        callers = [asyncio.create_task(get(service)) for _ in range(5)]
        await held.begun.wait()
        held.let_go.set()
        ends = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(end) for end in ends] == ["NOT_FOUND: no such job"] * 5
    assert backend.count("GetOperation") == 1


async def test_the_caller_that_leaves_does_not_take_the_others_with_it() -> None:
    """Its call ends with it, and one of the others makes the call again."""
    held = Held(answering(RUNNING))
    async with reading_from({"GetOperation": held}) as (service, _):
        first = asyncio.create_task(get(service))
        await held.begun.wait()
        other = asyncio.create_task(get(service))
        await asyncio.sleep(0)
        first.cancel()
        held.let_go.set()
        assert (await other).name == "jobs/1"
        with pytest.raises(asyncio.CancelledError):
            await first


@pytest.mark.parametrize(("freshness", "calls"), [("30s", 1), ("0s", 3)])
async def test_a_state_is_reused_while_it_is_fresh(freshness: str, calls: int) -> None:
    """A freshness of 0 turns this off."""
    handlers = {"GetOperation": answering(RUNNING)}
    async with reading_from(handlers, freshness=freshness) as (service, backend):
        for _ in range(3):
            await get(service)
    assert backend.count("GetOperation") == calls


@pytest.mark.parametrize("change", ["cancel", "delete"])
async def test_what_a_caller_changes_is_read_anew(change: str) -> None:
    """The state of before is forgotten, however fresh it is."""
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
    """The second read brings the same message, and nothing is printed again."""
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
