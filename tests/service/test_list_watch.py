"""Watches of lists: one poll loop for each list, shared by all its readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.operations.operation import Operation, State
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.list_watch import ListChange
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import ListRequest
from tests.contrary import Answer, ContraryBackend, Handler, refusing
from tests.gateways import service_of
from tests.service.watched_job import Job, watched, whole


async def test_a_list_is_not_watched_any_more_once_the_gateway_stops() -> None:
    """The stream would not end by itself, so it would delay the gateway's stop."""
    async with watched(Job()) as (service, _):
        service.close()
        changes = service.watch_list(ANONYMOUS, ListRequest(), whole, every=15.0)
        with pytest.raises(StatusError) as caught:
            await anext(changes)
    assert caught.value.reason == "GATEWAY_SHUTTING_DOWN"


class Page:
    """A list whose operations a test can change."""

    def __init__(self, *names: str) -> None:
        self.operations = [operations_pb2.Operation(name=name) for name in names]

    async def __call__(self, _request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.ListOperationsResponse(operations=self.operations)
        return answer


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll lists every 0.01 seconds."""
    monkeypatch.setattr("lro_gateway.service.list_watch._INTERVAL", 0.01)


@asynccontextmanager
async def watching(handler: Handler) -> AsyncIterator[tuple[OperationService, ContraryBackend]]:
    """Open a service over one backend, whose ListOperations is this handler."""
    async with (
        ContraryBackend.open({"ListOperations": handler}) as backend,
        service_of(backend.target) as service,
        asyncio.timeout(60),
    ):
        yield service, backend


def changes_of(service: OperationService) -> aclosing[AsyncGenerator[ListChange]]:
    """Return a reader of the watch of all operations."""
    return aclosing(service.watch_list(ANONYMOUS, ListRequest(), whole, every=3600.0))


async def test_readers_of_one_list_share_one_poll() -> None:
    """Each reader gets the whole page first, and the backend gets one call."""
    async with (
        watching(Page("jobs/1")) as (service, backend),
        changes_of(service) as one,
        changes_of(service) as other,
    ):
        pages = [(await anext(each)).operations for each in (one, other)]
    assert [[each.name for each in page] for page in pages] == [["jobs/1"]] * 2
    assert backend.count("ListOperations") == 1


@pytest.mark.usefixtures("_often")
async def test_a_reader_gets_only_what_is_new_or_changed() -> None:
    """An operation that has left the page is named, and counts as new when it returns."""
    page = Page("jobs/1", "jobs/2")
    first, second = page.operations
    async with watching(page) as (service, _), changes_of(service) as changes:
        seen = [(await anext(changes)).operations]
        page.operations = [first, operations_pb2.Operation(name="jobs/2", done=True)]
        seen.append(await _next_news(changes))
        page.operations = [first]
        assert await anext(changes) == ListChange(left=("jobs/2",))
        page.operations = [first, second]
        seen.append(await _next_news(changes))
    assert [[(each.name, each.done) for each in news] for news in seen] == [
        [("jobs/1", False), ("jobs/2", False)],
        [("jobs/2", True)],
        [("jobs/2", False)],
    ]


@pytest.mark.usefixtures("_often")
async def test_a_watch_of_a_state_tells_that_an_operation_has_left_the_state() -> None:
    """A new reader of the same watch gets only the operations that are in the state now."""
    page = Page("jobs/1", "jobs/2")
    request = ListRequest(state=State.RUNNING)

    def running() -> aclosing[AsyncGenerator[ListChange]]:
        return aclosing(service.watch_list(ANONYMOUS, request, whole, every=3600.0))

    async with watching(page) as (service, _), running() as changes:
        seen = [(await anext(changes)).operations]
        done = [operations_pb2.Operation(name=f"jobs/{n}", done=True) for n in (2, 3)]
        page.operations = [page.operations[0], *done]
        seen.append(await _next_news(changes))
        async with running() as later:
            seen.append((await anext(later)).operations)
        page.operations = [operations_pb2.Operation(name=f"jobs/{n}") for n in (1, 2, 4)]
        seen.append(await _next_news(changes))
    assert [[(each.name, each.done) for each in news] for news in seen] == [
        [("jobs/1", False), ("jobs/2", False)],
        [("jobs/2", True)],
        [("jobs/1", False)],
        [("jobs/2", False), ("jobs/4", False)],
    ]


async def _next_news(changes: AsyncGenerator[ListChange]) -> tuple[Operation, ...]:
    """Return the next operations that are new or changed."""
    while not (news := await anext(changes)).operations:
        pass
    return news.operations


@pytest.mark.usefixtures("_often")
async def test_no_operation_leaves_a_list_because_its_backend_cannot_be_reached() -> None:
    """It is known again when the backend is back, and leaves when it was deleted."""
    there = Page("there/1")
    is_down = False

    async def listed(request: Any, context: Any) -> Answer:
        handler: Handler = refusing(grpc.StatusCode.UNAVAILABLE, "restarting") if is_down else there
        return await handler(request, context)

    request = ListRequest(return_partial_success=True)
    async with (
        ContraryBackend.open({"ListOperations": Page("here/1")}) as one,
        ContraryBackend.open({"ListOperations": listed}) as other,
        Gateway.open(_config(one=one.target, other=other.target)) as gateway,
        asyncio.timeout(60),
        aclosing(gateway.service.watch_list(ANONYMOUS, request, whole, every=3600.0)) as changes,
    ):
        assert len((await anext(changes)).operations) == 2
        is_down = True
        assert await anext(changes) == ListChange()
        is_down = False
        assert await anext(changes) == ListChange()
        there.operations = []
        assert await anext(changes) == ListChange(left=("//other/there/1",))


def _config(**targets: str) -> GatewayConfig:
    backends = [
        {"name": name, "target": target, "descriptors": []} for name, target in targets.items()
    ]
    return GatewayConfig.model_validate({"backends": backends})


@pytest.mark.usefixtures("_often")
async def test_a_backend_that_cannot_be_reached_for_a_while_does_not_end_the_watch() -> None:
    """The readers get the next change after the backend is back."""
    page = Page("jobs/1")
    outages = iter([refusing(grpc.StatusCode.UNAVAILABLE, "restarting")] * 3)
    out = False

    async def listed(request: Any, context: Any) -> Answer:
        handler: Handler = next(outages, page) if out else page
        return await handler(request, context)

    async with watching(listed) as (service, _), changes_of(service) as changes:
        await anext(changes)
        page.operations = [operations_pb2.Operation(name="jobs/9")]
        out = True
        assert [each.name for each in await _next_news(changes)] == ["jobs/9"]


@pytest.mark.usefixtures("_often")
async def test_any_other_error_ends_every_reader() -> None:
    """The backend has answered, and the same call would fail again."""
    page: Handler = Page("jobs/1")
    refused = False

    async def listed(request: Any, context: Any) -> Answer:
        handler = refusing(grpc.StatusCode.PERMISSION_DENIED, "not yours") if refused else page
        return await handler(request, context)

    async with (
        watching(listed) as (service, _),
        changes_of(service) as one,
        changes_of(service) as other,
    ):
        await anext(one)
        await anext(other)
        refused = True
        for reader in (one, other):
            with pytest.raises(StatusError, match="not yours"):
                await _next_news(reader)
