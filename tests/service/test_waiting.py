"""Waits: with the backend's WaitOperation if it has one, or with polls of GetOperation."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import Code, StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest, WaitRequest
from lro_gateway.service.waiting import MAX_WAIT
from tests.contrary import Answer, ContraryBackend, Handler, answering, refusing
from tests.gateways import FACES, FaceName, opened, serving
from tests.ports import unused_address

RUNNING = operations_pb2.Operation(name="jobs/1")
DONE = operations_pb2.Operation(name="jobs/1", done=True)
SECOND = timedelta(seconds=1)


async def hanging(_request: Any, _context: Any) -> Answer:
    """Never answer; the server cancels the handler when its caller has left."""
    await asyncio.Event().wait()
    return b""


def in_turn(*answers: Handler) -> Handler:
    """Return a handler that uses each of these once, and the last one for all later calls."""
    left = list(answers)

    async def handler(request: Any, context: Any) -> Answer:
        return await (left.pop(0) if len(left) > 1 else left[0])(request, context)

    return handler


class Timed:
    """A handler that notes when its calls arrive, and how long ago the one before was answered."""

    def __init__(self, handler: Handler) -> None:
        self.arrivals: list[float] = []
        self.pauses: list[float] = []
        self._handler = handler
        self._answered = -math.inf

    async def __call__(self, request: Any, context: Any) -> Answer:
        loop = asyncio.get_running_loop()
        self.arrivals.append(loop.time())
        self.pauses.append(loop.time() - self._answered)
        try:
            return await self._handler(request, context)
        finally:
            self._answered = loop.time()


@asynccontextmanager
async def service_of(backend: ContraryBackend, **settings: Any) -> AsyncIterator[OperationService]:
    """Open the service over one backend."""
    config = GatewayConfig.model_validate(
        {"backends": [{"name": "b", "target": backend.target, "descriptors": [], **settings}]}
    )
    async with Gateway.open(config) as gateway:
        yield gateway.service


@asynccontextmanager
async def waiting(
    handlers: Mapping[str, Handler], **settings: Any
) -> AsyncIterator[tuple[OperationService, ContraryBackend]]:
    """Open a backend and a service over it."""
    async with (
        ContraryBackend.open(handlers) as backend,
        service_of(backend, **settings) as service,
    ):
        yield service, backend


async def wait(service: OperationService, timeout: timedelta | None = None) -> Operation:  # noqa: ASYNC109 - the request's field
    """Wait for operation `jobs/1`."""
    return await service.wait(ANONYMOUS, WaitRequest("jobs/1", timeout))


def counts(backend: ContraryBackend) -> dict[str, int]:
    """Return the number of calls of GetOperation and of WaitOperation."""
    return {name: backend.count(name) for name in ("GetOperation", "WaitOperation")}


async def test_an_operation_that_is_done_is_not_waited_for() -> None:
    """The first read shows that it is done."""
    async with waiting({"GetOperation": answering(DONE), "WaitOperation": hanging}) as (s, backend):
        assert (await wait(s)).to_json() == {"name": "jobs/1", "done": True}
        assert counts(backend) == {"GetOperation": 1, "WaitOperation": 0}


async def test_a_wait_calls_wait_operation_with_the_poll_interval_as_its_timeout() -> None:
    """WaitOperation returns at the operation's end, or with new progress after the interval."""
    handlers = {"GetOperation": answering(RUNNING), "WaitOperation": answering(DONE)}
    settings = {"poll_intervals": ["7s", "8s", "9s"], "freshness": "30s"}
    async with waiting(handlers, **settings) as (service, backend):
        assert (await wait(service, 20 * SECOND)).done
        assert counts(backend) == {"GetOperation": 1, "WaitOperation": 1}
        sent = backend.calls[-1].request
        assert (sent.name, sent.timeout.ToTimedelta()) == ("jobs/1", 7 * SECOND)


@pytest.mark.parametrize("timeout", [None, timedelta(hours=1)])
async def test_a_wait_is_capped(
    timeout: timedelta | None,  # noqa: ASYNC109 - the request's field
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cap of 50 seconds is used without a timeout, and instead of a longer one."""
    assert MAX_WAIT == GatewayConfig().server.default_wait == 50 * SECOND
    monkeypatch.setattr("lro_gateway.service.waiting.MAX_WAIT", 0.1 * SECOND)
    async with (
        waiting({"GetOperation": answering(RUNNING)}) as (service, _),
        asyncio.timeout(30),
    ):
        assert not (await wait(service, timeout)).done


@pytest.mark.parametrize("kind", FACES)
async def test_a_wait_without_a_timeout_lasts_for_the_default_of_the_server(
    kind: FaceName,
) -> None:
    """Some clients give up on a call after a few seconds. A caller's own timeout counts instead."""
    loop = asyncio.get_running_loop()
    async with (
        ContraryBackend.open({"GetOperation": answering(RUNNING)}) as backend,
        opened(kind, {"name": "b", "target": backend.target}, default_wait="0.2s") as client,
    ):
        for fields, lasted in (({}, 0.2), ({"timeout": "1.5s"}, 1.5)):
            began = loop.time()
            # The server's own default would be 50 seconds.
            async with asyncio.timeout(30):
                waited = await client.wait("jobs/1", **fields)
            assert waited == {"name": "jobs/1", "done": False}
            assert loop.time() - began >= lasted


async def test_a_wait_with_a_timeout_of_zero_reads_once() -> None:
    """It returns the latest state at once."""
    async with waiting({"GetOperation": answering(RUNNING), "WaitOperation": hanging}) as (
        service,
        backend,
    ):
        assert (await wait(service, timedelta(0))).to_json() == {"name": "jobs/1", "done": False}
        assert counts(backend) == {"GetOperation": 1, "WaitOperation": 0}


async def test_a_backend_without_wait_operation_is_polled_until_the_operation_is_done() -> None:
    """WaitOperation is not called again after it was UNIMPLEMENTED."""
    get = in_turn(*[answering(RUNNING)] * 2, answering(DONE))
    async with waiting({"GetOperation": get}, freshness="30s") as (service, backend):
        refused = 0

        async def unimplemented(request: Any, context: Any) -> Answer:
            nonlocal refused
            refused += 1
            return await refusing(grpc.StatusCode.UNIMPLEMENTED)(request, context)

        assert (await wait(service, 10 * SECOND)).done
        assert counts(backend) == {"GetOperation": 3, "WaitOperation": 0}
    handlers = {
        "GetOperation": in_turn(answering(RUNNING), answering(DONE)),
        "WaitOperation": unimplemented,
    }
    async with waiting(handlers, freshness="30s") as (service, backend):
        for _ in range(3):
            assert (await wait(service, 10 * SECOND)).done
        assert refused == 1


async def test_a_wait_returns_the_latest_state_at_its_timeout() -> None:
    """The end of the timeout is not an error, and the operation is read once more then."""
    loop = asyncio.get_running_loop()
    get = Timed(answering(RUNNING))
    async with waiting({"GetOperation": get}, freshness="0s") as (service, _):
        ends = loop.time() + 0.5
        assert (await wait(service, 0.5 * SECOND)).to_json() == {"name": "jobs/1", "done": False}
    assert get.arrivals[-1] >= ends - 0.01


async def test_an_operation_is_polled_once_a_second() -> None:
    """The time counts from the answer of the poll before, with a tenth more or less."""
    get = Timed(in_turn(*[answering(RUNNING)] * 4, answering(DONE)))
    async with waiting({"GetOperation": get}, freshness="0s") as (service, _):
        assert (await wait(service, 40 * SECOND)).done
    # The wait reads once, its watch reads once and asks again after WaitOperation was refused.
    assert len(get.arrivals) == 5
    assert min(get.pauses[3:]) >= 0.85


@pytest.mark.usefixtures("_any_answer_is_early")
async def test_a_wait_operation_that_returns_at_once_is_replaced_by_polls() -> None:
    """WaitOperation may return early, even at once, and then GetOperation is called instead."""
    get = Timed(in_turn(*[answering(RUNNING)] * 6, answering(DONE)))
    handlers: dict[str, Handler] = {"GetOperation": get, "WaitOperation": answering(RUNNING)}
    settings = {"poll_intervals": ["0.1s"] * 3, "freshness": "0s"}
    async with waiting(handlers, **settings) as (service, backend):
        assert (await wait(service, 40 * SECOND)).done
        assert counts(backend) == {"GetOperation": 7, "WaitOperation": 1}
    assert min(get.pauses[2:]) >= 0.08


@pytest.mark.parametrize("native", [True, False])
async def test_a_backend_that_hangs_delays_the_end_of_a_wait_only_a_little(native: bool) -> None:
    """The wait returns the state of the first read soon after its timeout."""
    handlers: dict[str, Handler] = {"GetOperation": in_turn(answering(RUNNING), hanging)}
    if native:
        handlers["WaitOperation"] = hanging
    async with waiting(handlers, deadline="60s") as (service, _), asyncio.timeout(30):
        latest = await wait(service, timedelta(seconds=0.3))
    assert latest.to_json() == {"name": "jobs/1", "done": False}


async def test_a_wait_whose_poll_hangs_returns_the_state_of_a_final_read() -> None:
    """The operation may have ended while WaitOperation hung."""
    handlers = {
        "GetOperation": in_turn(answering(RUNNING), answering(DONE)),
        "WaitOperation": hanging,
    }
    async with waiting(handlers, deadline="60s") as (service, _), asyncio.timeout(30):
        assert (await wait(service, timedelta(seconds=0.3))).done


@pytest.mark.parametrize("native", [True, False])
async def test_a_wait_goes_on_while_its_backend_restarts(native: bool) -> None:
    """A lost connection does not end the wait for the operation."""
    called = asyncio.Event()

    async def held(_request: Any, _context: Any) -> Answer:
        called.set()
        return await hanging(_request, _context)

    before = {"GetOperation": in_turn(answering(RUNNING), held)}
    if native:
        before["WaitOperation"] = held
    async with ContraryBackend.open(before, address=unused_address()) as backend:
        target = backend.target
        config = GatewayConfig.model_validate(
            {"backends": [{"name": "b", "target": target, "descriptors": []}]}
        )
        gateway = Gateway.open(config)
        service = (await gateway.__aenter__()).service
        pending = asyncio.create_task(wait(service, 20 * SECOND))
        await called.wait()
    try:
        after = {"GetOperation": answering(DONE), "WaitOperation": answering(DONE)}
        async with ContraryBackend.open(after, address=target):
            assert (await pending).done
    finally:
        await gateway.__aexit__(None, None, None)


@pytest.mark.usefixtures("_nothing_is_recent")
@pytest.mark.parametrize("native", [True, False])
async def test_an_operation_that_goes_missing_meanwhile_ends_the_wait(native: bool) -> None:
    """NOT_FOUND is an answer of the backend, so the poll is not repeated."""
    gone = refusing(grpc.StatusCode.NOT_FOUND, "deleted")
    handlers: dict[str, Handler] = {"GetOperation": in_turn(answering(RUNNING), gone)}
    if native:
        handlers["WaitOperation"] = gone
    async with waiting(handlers) as (service, _):
        with pytest.raises(StatusError, match="deleted") as caught:
            await wait(service, 10 * SECOND)
    assert caught.value.code is Code.NOT_FOUND


async def test_a_wait_whose_first_read_fails_raises_its_error_at_once() -> None:
    """This holds for every error, also if the backend is down."""
    handlers = {"GetOperation": refusing(grpc.StatusCode.UNAVAILABLE, "maintenance")}
    async with waiting(handlers) as (service, _):
        with pytest.raises(StatusError, match="maintenance"):
            await wait(service, 10 * SECOND)


@pytest.mark.parametrize("native", [True, False])
async def test_cancelling_a_wait_ends_the_backends_call_at_once(native: bool) -> None:
    """The call is not needed, because no reader is left."""
    called, ended = asyncio.Event(), asyncio.Event()

    async def held(_request: Any, _context: Any) -> Answer:
        called.set()
        try:
            return await hanging(_request, _context)
        finally:
            ended.set()

    handlers: dict[str, Handler] = {"GetOperation": in_turn(answering(RUNNING), held)}
    if native:
        handlers["WaitOperation"] = held
    async with waiting(handlers) as (service, _), asyncio.timeout(30):
        pending = asyncio.create_task(wait(service))
        await called.wait()
        pending.cancel()
        await ended.wait()
        with pytest.raises(asyncio.CancelledError):
            await pending


async def test_a_rest_client_that_disconnects_ends_the_backends_call_at_once() -> None:
    """The gateway cancels the wait of a REST caller whose connection has closed."""
    called, ended = asyncio.Event(), asyncio.Event()

    async def held(_request: Any, _context: Any) -> Answer:
        called.set()
        try:
            return await hanging(_request, _context)
        finally:
            ended.set()

    handlers = {"GetOperation": answering(RUNNING), "WaitOperation": held}
    async with (
        ContraryBackend.open(handlers) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        asyncio.timeout(30),
    ):
        async with httpx.AsyncClient(base_url=url) as client:
            pending = asyncio.create_task(client.post("/v1/jobs/1:wait", json={}))
            await called.wait()
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await ended.wait()


async def test_a_running_wait_does_not_delay_other_calls() -> None:
    """The same backend answers a read while the wait goes on."""
    called = asyncio.Event()

    async def held(_request: Any, _context: Any) -> Answer:
        called.set()
        return await hanging(_request, _context)

    handlers = {"GetOperation": answering(RUNNING), "WaitOperation": held}
    async with waiting(handlers) as (service, _), asyncio.timeout(30):
        pending = asyncio.create_task(wait(service))
        await called.wait()
        assert not (await service.get(ANONYMOUS, NameRequest("jobs/1"))).done
        assert not pending.done()
        pending.cancel()


@pytest.mark.parametrize("kind", FACES)
async def test_every_face_waits_and_answers_with_the_latest_state(kind: FaceName) -> None:
    """The timeout is written in the form of the face."""
    handlers = {"GetOperation": answering(RUNNING)}
    async with (
        ContraryBackend.open(handlers) as backend,
        opened(kind, {"name": "b", "target": backend.target}) as client,
    ):
        assert await client.wait("jobs/1", timeout="0.3s") == {"name": "jobs/1", "done": False}
        assert backend.count("GetOperation") >= 2
