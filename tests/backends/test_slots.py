"""The slots of a backend bound its running calls, and a call without a slot waits for its turn."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from lro_gateway.backends.slots import CallSlots, NoSlotError
from lro_gateway.errors import StatusError
from lro_gateway.principal import Principal, Reader
from lro_gateway.service.verb_requests import NameRequest
from tests.contrary import Answer, ContraryBackend, answering
from tests.gateways import service_of
from tests.processes import served

RUNNING: Message = operations_pb2.Operation(name="jobs/1")


async def test_calls_get_slots_in_the_order_in_which_they_came() -> None:
    """A call that comes later never overtakes."""
    slots, order = CallSlots(1, 10), []

    async def call(number: int) -> None:
        await slots.enter(10)
        order.append(number)
        slots.leave()

    await slots.enter(10)
    calls = [asyncio.create_task(call(number)) for number in range(5)]
    await asyncio.sleep(0)
    slots.leave()
    await asyncio.gather(*calls)
    assert order == [0, 1, 2, 3, 4]


async def test_one_callers_thousand_calls_delay_no_other_caller() -> None:
    """Slots go round by caller among equals, and each caller's calls keep their order."""
    slots = CallSlots(1, 1001)
    order: list[tuple[str, int]] = []

    async def call(reader: str, number: int) -> None:
        await slots.enter(10, (reader, None))
        order.append((reader, number))
        slots.leave((reader, None))

    await slots.enter(10)
    calls = [asyncio.create_task(call("greedy", number)) for number in range(1000)]
    await asyncio.sleep(0)
    calls.append(asyncio.create_task(call("modest", 0)))
    await asyncio.sleep(0)
    slots.leave()
    await asyncio.gather(*calls)
    assert order[:3] == [("greedy", 0), ("modest", 0), ("greedy", 1)]
    assert [number for reader, number in order if reader == "greedy"] == [*range(1000)]


async def test_a_full_queue_makes_room_for_a_caller_with_fewer_calls() -> None:
    """The newest calls of the caller with the most calls are refused. Equal shares stay."""
    slots = CallSlots(1, 4)
    await slots.enter(10)

    def waiting(reader: str) -> asyncio.Task[None]:
        return asyncio.create_task(slots.enter(10, (reader, None)))

    greedy = [waiting("greedy") for _ in range(4)]
    await asyncio.sleep(0)
    modest = [waiting("modest") for _ in range(2)]
    ended, _ = await asyncio.wait(greedy[2:])
    assert [type(each.exception()) for each in ended] == [NoSlotError] * 2
    for reader in ("greedy", "modest"):
        with pytest.raises(NoSlotError) as caught:
            await slots.enter(10, (reader, None))
        assert not caught.value.is_late
    slots.leave()
    for reader in ("greedy", "modest", "greedy"):
        slots.leave((reader, None))
    await asyncio.gather(*greedy[:2], *modest)


async def test_a_call_that_made_room_as_its_caller_left_loses_no_slot() -> None:
    """The cancellation and the refusal come in one step of the event loop."""
    slots = CallSlots(1, 2)
    await slots.enter(10)
    greedy = [asyncio.create_task(slots.enter(10, ("greedy", None))) for _ in range(2)]
    await asyncio.sleep(0)
    greedy[1].cancel()
    modest = asyncio.create_task(slots.enter(10, ("modest", None)))
    await asyncio.wait([greedy[1]])
    assert greedy[1].cancelled()
    slots.leave()
    await greedy[0]
    slots.leave(("greedy", None))
    await modest
    slots.leave(("modest", None))
    assert slots.enter_at_once()
    assert not slots.enter_at_once()


async def test_callers_of_one_backend_take_turns() -> None:
    """A caller with thirty calls in the queue delays one call of another caller by one call."""
    release = asyncio.Semaphore(0)
    names: list[str] = []

    async def get(request: Any, _context: Any) -> Answer:
        names.append(request.name)
        await release.acquire()
        answer: Answer = operations_pb2.Operation(name=request.name)
        return answer

    async with (
        ContraryBackend.open({"GetOperation": get}) as backend,
        service_of(backend.target, max_concurrent_calls=1) as service,
    ):

        def reading(subject: str, number: int) -> asyncio.Task[Any]:
            request = NameRequest(f"{subject}/{number}")
            return asyncio.create_task(service.get(Principal(subject, "test"), request))

        calls = [reading("greedy", number) for number in range(30)]
        await asyncio.sleep(0)
        calls.append(reading("modest", 0))
        await asyncio.sleep(0)
        for _ in calls:
            release.release()
        await asyncio.gather(*calls)
    assert names[2] == "modest/0"


def caller(subject: str) -> Reader:
    """Return the reader of a caller with an identity."""
    return Principal(subject, "test").reader


async def test_one_caller_never_holds_all_slots() -> None:
    """It has its share, with the calls that wait for operations. The rest is for others at once."""
    slots = CallSlots(4, 4, share=2)
    greedy = caller("greedy")
    await slots.enter(10, greedy)
    slots.enter_to_wait(greedy)
    assert not slots.enter_at_once(greedy)
    assert not slots.has_room_to_wait(greedy)
    with pytest.raises(NoSlotError) as caught:
        slots.enter_to_wait(greedy)
    assert caught.value.is_share
    with pytest.raises(NoSlotError) as caught:
        await slots.enter(0.01, greedy)
    assert (caught.value.is_late, caught.value.is_share) == (True, True)
    more = asyncio.create_task(slots.enter(10, greedy))
    await asyncio.sleep(0)
    assert slots.enter_at_once(caller("modest"))
    slots.leave(caller("modest"))  # The free slot is not for the caller that has its share.
    await asyncio.sleep(0)
    assert not more.done()
    slots.leave_after_wait(greedy)
    await more


async def test_an_address_has_no_share() -> None:
    """It may be the address of all callers."""
    slots = CallSlots(4, 4, share=1)
    for port in range(4):
        assert slots.enter_at_once(("192.0.2.1", port))


async def test_a_free_slot_is_for_who_runs_the_fewest_calls() -> None:
    """A caller that comes while others hold all slots gets its part before they get more."""
    slots, order = CallSlots(4, 100), []

    async def call(reader: str) -> None:
        await slots.enter(10, (reader, None))
        order.append(reader)

    for reader in ("a", "a", "b", "b"):
        await slots.enter(10, (reader, None))
    calls = [asyncio.create_task(call(each)) for each in ("a", "b", "late", "late")]
    await asyncio.sleep(0)
    for reader in ("a", "a", "b", "late"):
        slots.leave((reader, None))
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    assert order == ["late", "a", "b", "late"]


async def test_a_caller_with_its_share_is_told_which_setting_bounds_it() -> None:
    """While other callers are answered."""
    release = asyncio.Event()

    async def get(request: Any, _context: Any) -> Answer:
        if request.name.startswith("slow"):
            await release.wait()
        answer: Answer = operations_pb2.Operation(name=request.name)
        return answer

    async with (
        ContraryBackend.open({"GetOperation": get}) as backend,
        service_of(backend.target, max_concurrent_calls=2, max_queued_calls=1) as service,
    ):
        greedy = Principal("greedy", "test")
        calls = [
            asyncio.create_task(service.get(greedy, NameRequest(f"slow/{number}")))
            for number in range(3)
        ]
        (refused,), running = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        error = refused.exception()
        assert isinstance(error, StatusError)
        assert error.info is not None
        assert error.info.metadata["setting"] == "max_call_share"
        assert error.info.metadata["limit"] == "1"
        assert not (await service.get(Principal("modest", "test"), NameRequest("quick/1"))).done
        release.set()
        await asyncio.gather(*running)


async def test_a_call_leaves_the_queue_when_its_caller_leaves() -> None:
    """Its place goes to another call, and no slot is lost."""
    slots = CallSlots(1, 1)
    await slots.enter(10)
    left = asyncio.create_task(slots.enter(10))
    await asyncio.sleep(0)
    with pytest.raises(NoSlotError) as caught:
        await slots.enter(10)
    assert not caught.value.is_late
    left.cancel()
    await asyncio.wait([left])
    waiting = asyncio.create_task(slots.enter(10))
    await asyncio.sleep(0)
    slots.leave()
    await waiting


async def test_a_call_that_leaves_as_it_gets_a_slot_gives_the_slot_on() -> None:
    """The cancellation and the slot come in one step of the event loop."""
    slots = CallSlots(1, 2)
    await slots.enter(10)
    left, waiting = (asyncio.create_task(slots.enter(10)) for _ in range(2))
    await asyncio.sleep(0)
    slots.leave()
    left.cancel()
    await waiting
    assert left.cancelled()


async def test_a_call_leaves_the_queue_at_its_deadline() -> None:
    """The slots that come free later are for other calls."""
    slots = CallSlots(1, 1)
    await slots.enter(10)
    with pytest.raises(NoSlotError) as caught:
        await slots.enter(0.01)
    assert caught.value.is_late
    slots.leave()
    await slots.enter(10)


async def test_waits_take_half_of_the_slots_and_do_not_queue() -> None:
    """The other half stays for calls that answer soon."""
    slots = CallSlots(4, 4)
    for _ in range(2):
        slots.enter_to_wait()
    assert not slots.has_room_to_wait()
    with pytest.raises(NoSlotError):
        slots.enter_to_wait()
    await slots.enter(10)
    slots.leave_after_wait()
    assert slots.has_room_to_wait()


async def test_a_slow_backend_holds_up_no_other_and_its_calls_are_bounded(tmp_path: Path) -> None:
    """The calls beyond the bound wait, or are refused at once if the queue is full."""
    release = asyncio.Event()
    running, most = 0, 0

    async def hang(request: Any, _context: Any) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1
        answer: Answer = operations_pb2.Operation(name=request.name)
        return answer

    limits = {"max_concurrent_calls": 2, "max_queued_calls": 3, "deadline": "300s"}
    done = operations_pb2.Operation(name="tasks/1", done=True)
    async with (
        ContraryBackend.open({"GetOperation": hang, "CancelOperation": hang}) as slow,
        ContraryBackend.open({"GetOperation": answering(done)}) as quick,
        served(
            tmp_path,
            {"name": "slow", "target": slow.target, "operations": ["jobs/*"], **limits},
            {"name": "quick", "target": quick.target, "operations": ["tasks/*"]},
        ) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        calls = {asyncio.create_task(client.get(f"/v1/jobs/{number}")) for number in range(8)}
        finished: set[asyncio.Task[httpx.Response]] = set()
        async with asyncio.timeout(60):
            while len(finished) < 3:
                ended, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                finished |= ended
        assert (await client.get("/v1/tasks/1")).json()["done"] is True
        for call in finished:
            error = call.result().json()["error"]
            assert (call.result().status_code, error["status"]) == (429, "RESOURCE_EXHAUSTED")
            (info,) = error["details"]
            assert info["reason"] == "TOO_MANY_CALLS"
            assert info["metadata"]["setting"] == "max_concurrent_calls"
            assert info["metadata"]["limit"] == "2"
        await server.logged("backend slow: a call got no slot")
        release.set()
        answers = await asyncio.gather(*calls)
    assert [answer.status_code for answer in answers] == [200] * 5
    assert most == 2


async def test_waits_of_watches_leave_room_for_a_cancel(tmp_path: Path) -> None:
    """Many callers wait for operations of a backend whose WaitOperation blocks."""
    waits = asyncio.Semaphore(0)

    async def hang(_request: Any, _context: Any) -> Answer:
        waits.release()
        await asyncio.Event().wait()
        return RUNNING

    async def get(request: Any, _context: Any) -> Answer:
        running: Message = operations_pb2.Operation(name=request.name)
        return running

    handlers = {"GetOperation": get, "WaitOperation": hang, "CancelOperation": answering(Empty())}
    settings = {"operations": ["jobs/*"], "max_concurrent_calls": 4, "max_queued_calls": 8}
    intervals = {"poll_intervals": ["300s"] * 3}
    async with (
        ContraryBackend.open(handlers) as backend,
        served(
            tmp_path, {"name": "b", "target": backend.target, **settings, **intervals}
        ) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        waiting = [
            asyncio.create_task(client.post(f"/v1/jobs/{number}:wait", json={"timeout": "50s"}))
            for number in range(8)
        ]
        async with asyncio.timeout(60):
            for _ in range(2):
                await waits.acquire()
            cancelled = await client.post("/v1/jobs/1:cancel")
        assert cancelled.status_code == 200
        assert backend.count("WaitOperation") == 2
        for call in waiting:
            call.cancel()
        await asyncio.wait(waiting)
