"""Tests of lists of the operations in one state, on backends that ignore the filter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.rpc import status_pb2
from mcp import Client

from lro_gateway.service.state_search import MAX_PAGES
from tests.contrary import Answer, ContraryBackend, Handler
from tests.gateways import FACES, Face, FaceName, opened, refusal, serving
from tests.mcp.tool_client import MODES, texts


def operation(number: int, state: str) -> Any:
    """Return an operation in a state."""
    made = operations_pb2.Operation(name=f"jobs/{number}", done=state != "running")
    if state in {"failed", "cancelled"}:
        made.error.CopyFrom(status_pb2.Status(code=13 if state == "failed" else 1, message="no"))
    return made


def paging(operations: list[Any]) -> Handler:
    """Return a handler that lists operations and ignores the filter, as many backends do."""

    async def listed(request: Any, _context: Any) -> Answer:
        start = int(request.page_token or 0)
        end = start + (request.page_size or 3)
        answer: Answer = operations_pb2.ListOperationsResponse(
            operations=operations[start:end],
            next_page_token=str(end) if end < len(operations) else "",
        )
        return answer

    return listed


@asynccontextmanager
async def listing(
    kind: FaceName, operations: list[Any]
) -> AsyncIterator[tuple[Face, ContraryBackend]]:
    """Open a client of one face of a gateway to a backend that lists these operations."""
    async with (
        ContraryBackend.open({"ListOperations": paging(operations)}) as backend,
        opened(kind, {"name": "b", "target": backend.target}) as client,
    ):
        yield client, backend


def names(page: Any) -> list[str]:
    """Return the names of the operations of a page."""
    return [each["name"] for each in page["operations"]]


@pytest.mark.parametrize("kind", FACES)
@pytest.mark.parametrize("state", ["running", "succeeded", "failed", "cancelled"])
async def test_only_the_operations_in_a_state_are_listed(kind: FaceName, state: str) -> None:
    """A succeeded operation has no error, and a cancelled one has the error code 1."""
    states = ["running", "succeeded", "failed", "cancelled"] * 5
    operations = [operation(number, each) for number, each in enumerate(states)]
    async with listing(kind, operations) as (client, _):
        page = await client.list(state=state)
    assert names(page) == [f"jobs/{n}" for n, each in enumerate(states) if each == state]
    assert "nextPageToken" not in page


@pytest.mark.parametrize("kind", FACES)
async def test_a_search_stops_at_its_bound_and_the_token_continues_it(kind: FaceName) -> None:
    """No operation is missing and none comes twice, and a page is never larger than requested."""
    states = {5: "failed", 130: "failed", 131: "failed", 132: "failed", 133: "failed"}
    operations = [operation(number, states.get(number, "running")) for number in range(200)]
    async with listing(kind, operations) as (client, backend):
        pages = [await client.list(state="failed", pageSize=4)]
        first = backend.count("ListOperations")
        while token := pages[-1].get("nextPageToken"):
            pages.append(await client.list(state="failed", pageSize=4, pageToken=token))
    assert first == MAX_PAGES
    assert names(pages[0]) == ["jobs/5"]
    assert [name for page in pages for name in names(page)] == [f"jobs/{n}" for n in states]
    assert max(len(names(page)) for page in pages) <= 4


@pytest.mark.parametrize("kind", FACES)
async def test_a_state_combines_with_a_filter_and_belongs_to_the_page_token(kind: FaceName) -> None:
    """The backend gets the filter. A token of one state does not continue a list of another."""
    operations = [operation(number, "running") for number in range(9)]
    async with listing(kind, operations) as (client, backend):
        page = await client.list(state="running", filter="mine=true", pageSize=3)
        token = page["nextPageToken"]
        refused = await refusal(
            client.list(state="failed", filter="mine=true", pageSize=3, pageToken=token)
        )
    assert {call.request.filter for call in backend.answered} == {"mine=true"}
    assert refused.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("kind", FACES)
async def test_an_unknown_state_is_refused_with_the_known_ones(kind: FaceName) -> None:
    """The backend is not called."""
    async with listing(kind, []) as (client, backend):
        refused = await refusal(client.list(state="done"))
    assert refused.message == (
        "state: one of running, succeeded, failed, cancelled is needed, not 'done'"
    )
    assert not backend.answered


@pytest.mark.parametrize("mode", MODES)
async def test_the_words_say_where_the_search_stopped(mode: Any) -> None:
    """A model then knows that there may be more, although the page is empty."""
    operations = [operation(number, "running") for number in range(MAX_PAGES * 20 + 1)]
    async with (
        ContraryBackend.open({"ListOperations": paging(operations)}) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        Client(f"{url}/mcp", mode=mode) as client,
    ):
        stopped = await client.call_tool("list_operations", {"state": "failed"})
        assert stopped.structured_content is not None
        token = stopped.structured_content["nextPageToken"]
        arguments = {"state": "failed", "pageToken": token}
        ended = await client.call_tool("list_operations", arguments)
    assert texts(stopped)[1] == (
        "0 operations on this page. The search stopped after 500 operations, and the"
        " others are not searched yet. To go on, call again with pageToken set to nextPageToken."
    )
    assert texts(ended)[1] == "0 operations on this page."
