"""Operations that have just begun, at a backend that does not find them yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from lro_gateway.errors import StatusError
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import ListRequest, NameRequest, WaitRequest
from tests import factory
from tests.contrary import Answer, ContraryBackend, refusing
from tests.gateways import FACES, FaceName, face, refusal, service_of, serving
from tests.service.watched_job import JOB, last

START = "factory.v1.Factory/BuildMachine"
MACHINE = {"title": "t"}
GONE = refusing(grpc.StatusCode.NOT_FOUND, "no such operation")


class Late:
    """A backend whose GetOperation and WaitOperation do not find the operation while `is_late`."""

    def __init__(self) -> None:
        self.is_late = True
        self.operation: Any = operations_pb2.Operation(name="jobs/1")
        self.backend = ContraryBackend()
        self.waited = asyncio.Event()
        """Set at the third call of WaitOperation."""

    @property
    def settings(self) -> dict[str, Any]:
        """The backend's settings in a gateway's configuration."""
        often = ["0.01s"] * 3
        return {"name": "b", "target": self.backend.target, "poll_intervals": often}

    async def get(self, request: Any, context: Any) -> Answer:
        if self.is_late:
            return await GONE(request, context)
        return await self.start(request, context)

    async def wait(self, request: Any, context: Any) -> Answer:
        if self.backend.count("WaitOperation") >= 3:
            self.waited.set()
        return await self.get(request, context)

    async def start(self, _request: Any, _context: Any) -> Answer:
        answer: Answer = self.operation
        return answer

    async def list(self, _request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.ListOperationsResponse(operations=[self.operation])
        return answer

    async def cancel(self, request: Any, context: Any) -> Answer:
        return await GONE(request, context) if self.is_late else Empty()

    async def delete(self, request: Any, context: Any) -> Answer:
        if self.is_late:
            return await GONE(request, context)
        self.is_late = True
        return Empty()


@pytest.fixture
async def late() -> AsyncIterator[Late]:
    """Serve such a backend."""
    late = Late()
    async with ContraryBackend.open(
        {
            "GetOperation": late.get,
            "WaitOperation": late.wait,
            "ListOperations": late.list,
            "DeleteOperation": late.delete,
            "CancelOperation": late.cancel,
        },
        methods={START: late.start},
        pool=factory.pool(),
        reflection_versions=("v1",),
    ) as late.backend:
        yield late


@asynccontextmanager
async def service_over(late: Late) -> AsyncIterator[OperationService]:
    """Open the service over the backend, without reuse of states."""
    settings = {"freshness": "0s", "descriptors": [], **late.settings}
    async with service_of(settings.pop("target"), **settings) as service, asyncio.timeout(60):
        yield service


@pytest.mark.parametrize("kind", FACES)
async def test_an_operation_that_was_started_is_running_although_it_is_not_found(
    kind: FaceName, late: Late
) -> None:
    """Each face returns the state of the start, and the end once the backend finds it."""
    async with serving(late.settings, sync_grace="0s") as url, face(kind, url) as client:
        async with httpx.AsyncClient(base_url=url) as starter:
            started = await starter.post("/v1/lines/1/machines", json=MACHINE)
            assert started.json() == {"name": "jobs/1", "done": False}
        running = {"name": "jobs/1", "done": False}
        assert await client.get("jobs/1") == running
        assert await client.wait("jobs/1", timeout="0.1s") == running
        waiting = asyncio.create_task(client.wait("jobs/1", timeout="30s"))
        await client.get("jobs/1")
        late.operation, late.is_late = operations_pb2.Operation(name="jobs/1", done=True), False
        assert await waiting == {"name": "jobs/1", "done": True}


async def test_an_event_stream_begins_before_the_operation_is_found(late: Late) -> None:
    """An EventSource would not connect again after a 404."""
    async with serving(late.settings) as url, httpx.AsyncClient(base_url=url) as client:
        await client.post("/v1/lines/1/machines", json=MACHINE)
        async with client.stream("GET", "/v1/jobs/1:watch") as response:
            lines = response.aiter_lines()
            first = [await anext(lines) for _ in range(3)]
            late.operation.done, late.is_late = True, False
            rest = [line async for line in lines]
    assert response.status_code == 200
    assert first[2] == 'data: {"name":"jobs/1","done":false}'
    assert 'data: {"name":"jobs/1","done":true}' in rest


@pytest.mark.parametrize("met", ["list", "get"])
async def test_a_running_operation_that_was_seen_is_running_although_it_is_not_found(
    met: str, late: Late
) -> None:
    """Another replica of the backend may not have it yet."""
    async with service_over(late) as service:
        if met == "list":
            await service.list(ANONYMOUS, ListRequest())
        else:
            late.is_late = False
            await service.get(ANONYMOUS, JOB)
            late.is_late = True
        assert not (await service.get(ANONYMOUS, JOB)).done


async def test_a_finished_operation_that_was_only_read_is_not_found_once_it_is_gone(
    late: Late,
) -> None:
    """The backend found it, so it is not new."""
    late.operation.done, late.is_late = True, False
    async with service_over(late) as service:
        await service.get(ANONYMOUS, JOB)
        late.is_late = True
        with pytest.raises(StatusError, match="no such operation"):
            await service.get(ANONYMOUS, JOB)


async def test_an_operation_that_was_never_met_is_not_found(late: Late) -> None:
    """The backend's error is passed on."""
    async with service_over(late) as service:
        for request in (JOB, NameRequest("jobs/2")):
            with pytest.raises(StatusError, match="no such operation"):
                await service.get(ANONYMOUS, request)


@pytest.mark.parametrize("kind", FACES)
async def test_an_operation_that_was_deleted_through_the_gateway_is_not_found_at_once(
    kind: FaceName, late: Late
) -> None:
    """A running wait ends too, and a later answer does not bring the operation back."""
    late.is_late = False
    async with serving(late.settings) as url, face(kind, url) as client:
        await client.get("jobs/1")
        waiting = asyncio.create_task(refusal(client.wait("jobs/1", timeout="30s")))
        await client.delete("jobs/1")
        assert (await waiting).status == "NOT_FOUND"
        await client.list()
        assert (await refusal(client.get("jobs/1"))).status == "NOT_FOUND"


@pytest.mark.parametrize("kind", FACES)
async def test_what_has_ended_and_is_not_there_to_delete_is_not_found_either(
    kind: FaceName, late: Late
) -> None:
    """The backend has forgotten it already. Nothing may bring the operation back."""
    late.is_late = False
    async with serving(late.settings) as url, face(kind, url) as client:
        assert not (await client.get("jobs/1"))["done"]
        late.operation = operations_pb2.Operation(name="jobs/1", done=True)
        assert (await client.get("jobs/1"))["done"]
        late.is_late = True
        assert (await refusal(client.delete("jobs/1"))).status == "NOT_FOUND"
        assert (await refusal(client.get("jobs/1"))).status == "NOT_FOUND"


@pytest.mark.parametrize("kind", FACES)
async def test_a_change_that_does_not_find_a_new_operation_is_to_be_sent_again(
    kind: FaceName, late: Late
) -> None:
    """The operation runs, so nobody may conclude that it is gone. It is still known afterwards."""
    async with serving(late.settings) as url, face(kind, url) as client:
        await client.list()
        for change in (client.cancel, client.delete):
            refused = await refusal(change("jobs/1"))
            assert (refused.status, refused.reason) == ("UNAVAILABLE", "OPERATION_NOT_FOUND_YET")
            assert await client.get("jobs/1") == {"name": "jobs/1", "done": False}
            assert (await refusal(change("jobs/2"))).status == "NOT_FOUND"


async def test_after_30_seconds_not_found_means_that_the_operation_is_gone(
    late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time counts from the first answer with the operation, however often it is read."""
    monkeypatch.setattr("lro_gateway.backends.recent.RECENT", 0.3)
    async with service_over(late) as service:
        await service.list(ANONYMOUS, ListRequest())
        request = WaitRequest("jobs/1", timedelta(seconds=20))
        with pytest.raises(StatusError, match="no such operation"):
            await service.wait(ANONYMOUS, request)
        late.is_late = False
        assert not (await service.get(ANONYMOUS, JOB)).done
        late.is_late = True
        with pytest.raises(StatusError, match="no such operation"):
            await service.get(ANONYMOUS, JOB)


async def test_wait_operation_is_used_again_once_it_finds_the_operation(late: Late) -> None:
    """NOT_FOUND for a new operation does not mean that WaitOperation fails."""
    async with service_over(late) as service:
        await service.list(ANONYMOUS, ListRequest())
        reader = asyncio.create_task(last(service))
        await late.waited.wait()
        late.operation.done, late.is_late = True, False
        reads = late.backend.count("GetOperation")
        assert (await reader).operation.done
        assert late.backend.count("GetOperation") - reads <= 1


async def test_only_the_newest_operations_are_remembered(
    late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of many operations must not fill the memory."""
    monkeypatch.setattr("lro_gateway.backends.recent._MAX_BYTES", 4096)
    async with service_over(late) as service:
        for number in range(1, 9):
            late.operation = operations_pb2.Operation(name=f"jobs/{number}")
            await service.list(ANONYMOUS, ListRequest())
        assert not (await service.get(ANONYMOUS, NameRequest("jobs/8"))).done
        with pytest.raises(StatusError, match="no such operation"):
            await service.get(ANONYMOUS, JOB)
