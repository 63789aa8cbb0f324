"""Lists: all backends are called at once, and one token holds the positions of all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.principal import ANONYMOUS, Principal
from lro_gateway.service.verb_requests import ListRequest
from tests.contrary import Answer, ContraryBackend, Handler, refusing
from tests.gateways import FACES, Face, FaceName, RefusedError, opened, service_of


def paging(names: Sequence[str], *, default: int = 3, largest: int = 4) -> Handler:
    """Return a handler that lists these names; a page token is the index of its first name."""

    async def listed(request: Any, _context: Any) -> Answer:
        start = int(request.page_token or 0)
        end = start + min(request.page_size or default, largest)
        answer: Answer = operations_pb2.ListOperationsResponse(
            operations=[operations_pb2.Operation(name=name) for name in names[start:end]],
            next_page_token=str(end) if end < len(names) else "",
        )
        return answer

    return listed


def numbered(collection: str, count: int) -> list[str]:
    """Return this many names in a collection."""
    return [f"{collection}/{number}" for number in range(count)]


def partial(kind: FaceName) -> dict[str, Any]:
    """Return the field for partial success, in the form of the face."""
    return {"returnPartialSuccess": "true" if kind == "rest" else True}


def sized(kind: FaceName, size: int) -> dict[str, Any]:
    """Return the field for the page size, in the form of the face."""
    return {"pageSize": str(size) if kind == "rest" else size}


async def pages_of(client: Face, **fields: Any) -> list[Any]:
    """Return all pages of a list; fails if there are more than 50."""
    pages: list[Any] = []
    token: dict[str, str] = {}
    while not pages or token:
        assert len(pages) < 50, "the list does not end"
        pages.append(await client.list(**fields, **token))
        token = {"pageToken": t} if (t := pages[-1].get("nextPageToken")) else {}
    return pages


def names_of(pages: Sequence[Any]) -> list[str]:
    """Return the names of the operations on all pages."""
    return [operation["name"] for page in pages for operation in page["operations"]]


@asynccontextmanager
async def three(
    kind: FaceName, *handlers: Handler
) -> AsyncIterator[tuple[Face, list[ContraryBackend]]]:
    """Open a face over three backends that own `a/*`, `b/*` and `c/*`."""
    async with (
        ContraryBackend.open({"ListOperations": handlers[0]}) as a,
        ContraryBackend.open({"ListOperations": handlers[1]}) as b,
        ContraryBackend.open({"ListOperations": handlers[2]}) as c,
        opened(
            kind,
            *(
                {"name": name, "target": backend.target, "operations": [f"{name}/*"]}
                for name, backend in (("a", a), ("b", b), ("c", c))
            ),
        ) as client,
    ):
        yield client, [a, b, c]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 100])
@pytest.mark.parametrize("kind", FACES)
async def test_every_operation_is_seen_once_and_no_page_is_too_long(
    kind: FaceName, size: int
) -> None:
    """This holds for any page size, although the backends' lists differ in length."""
    lengths = {"a": 9, "b": 0, "c": 4}
    handlers = [paging(numbered(name, count)) for name, count in lengths.items()]
    everything = [name for key, count in lengths.items() for name in numbered(key, count)]
    async with three(kind, *handlers) as (client, _):
        pages = await pages_of(client, **sized(kind, size))
    assert sorted(names_of(pages)) == sorted(everything)
    if size:
        assert max(len(page["operations"]) for page in pages) <= size


@pytest.mark.parametrize("kind", FACES)
async def test_the_page_size_may_change_between_pages(kind: FaceName) -> None:
    """The token holds the position in each backend's list, and not the page size."""
    async with three(kind, *(paging(numbered(name, 5)) for name in "abc")) as (client, _):
        first = await client.list(**sized(kind, 2))
        rest = await client.list(**sized(kind, 100), pageToken=first["nextPageToken"])
        last = await client.list(**sized(kind, 100), pageToken=rest["nextPageToken"])
    assert sorted(names_of([first, rest, last])) == [f"{k}/{i}" for k in "abc" for i in range(5)]
    assert "nextPageToken" not in last


@pytest.mark.parametrize("kind", FACES)
async def test_filter_and_partial_success_reach_every_backend(kind: FaceName) -> None:
    """Each call for each page has the caller's values unchanged."""
    async with three(kind, *(paging(numbered(name, 4)) for name in "abc")) as (client, backends):
        await pages_of(client, filter='done=true AND x="ä"', **sized(kind, 9), **partial(kind))
    for backend in backends:
        assert [
            (call.request.filter, call.request.return_partial_success) for call in backend.calls
        ] == [('done=true AND x="ä"', True)] * 2


@pytest.mark.parametrize("kind", FACES)
async def test_one_failing_backend_fails_a_list_unless_partial_success_is_requested(
    kind: FaceName,
) -> None:
    """With partial success `unreachable` names it, and all other operations are listed."""
    down = refusing(grpc.StatusCode.PERMISSION_DENIED, "not yours")
    async with three(kind, paging(numbered("a", 5)), down, paging(numbered("c", 5))) as (
        client,
        (_, failing, _),
    ):
        with pytest.raises(RefusedError) as caught:
            await client.list()
        assert (caught.value.status, caught.value.message) == ("PERMISSION_DENIED", "not yours")
        failing.calls.clear()
        pages = await pages_of(client, **partial(kind))
        assert [page.get("unreachable") for page in pages] == [["//b"], None]
        assert sorted(names_of(pages)) == sorted(numbered("a", 5) + numbered("c", 5))
        # A backend that has failed is not called again for later pages.
        assert failing.count("ListOperations") == 1


@pytest.mark.parametrize("kind", FACES)
async def test_a_filter_that_all_backends_refuse_is_an_error_and_no_empty_list(
    kind: FaceName,
) -> None:
    """A mistyped filter would look as if nothing ran. Backends may have different filters."""
    wrong = refusing(grpc.StatusCode.INVALID_ARGUMENT, "no such field")
    down = refusing(grpc.StatusCode.UNAVAILABLE, "down")
    async with three(kind, wrong, down, wrong) as (client, _):
        with pytest.raises(RefusedError) as caught:
            await client.list(filter="x=", **partial(kind))
    assert (caught.value.status, caught.value.message) == ("INVALID_ARGUMENT", "no such field")
    async with three(kind, wrong, paging(["b/0"]), wrong) as (client, _):
        (page,) = await pages_of(client, filter="x=", **partial(kind))
    assert (names_of([page]), page["unreachable"]) == (["b/0"], ["//a", "//c"])


@pytest.mark.parametrize("kind", FACES)
async def test_a_backend_without_lists_does_not_hide_the_others_from_a_model(
    kind: FaceName,
) -> None:
    """`unreachable` names it. Over REST a list fails unless partial success is requested."""
    listless = refusing(grpc.StatusCode.UNIMPLEMENTED, "")
    async with three(kind, paging(["a/0"]), listless, paging(["c/0"])) as (client, _):
        if kind == "rest":
            with pytest.raises(RefusedError) as caught:
                await client.list()
            assert caught.value.status == "UNIMPLEMENTED"
        pages = await pages_of(client, **(partial(kind) if kind == "rest" else {}))
        with pytest.raises(RefusedError) as caught:
            await client.list(backend="b")
    assert [(names_of([page]), page.get("unreachable")) for page in pages] == [
        (["a/0", "c/0"], ["//b"])
    ]
    assert caught.value.status == "UNIMPLEMENTED"


@pytest.mark.parametrize("kind", FACES)
async def test_a_backend_that_fails_on_a_later_page_is_named_there_and_the_list_ends(
    kind: FaceName,
) -> None:
    """The first page has its operations, the second page names it, and there is no third page."""
    pages_of_b = paging(numbered("b", 9))

    async def first_page_only(request: Any, context: Any) -> Answer:
        if request.page_token:
            await context.abort(grpc.StatusCode.INTERNAL, "lost it")
        return await pages_of_b(request, context)

    async with three(kind, paging(["a/0"]), first_page_only, paging([])) as (client, _):
        pages = await pages_of(client, **sized(kind, 9), **partial(kind))
    assert [(names_of([page]), page.get("unreachable")) for page in pages] == [
        (["a/0", "b/0", "b/1", "b/2"], None),
        ([], ["//b"]),
    ]


@pytest.mark.parametrize("kind", FACES)
async def test_a_single_backend_that_fails_fails_the_list(kind: FaceName) -> None:
    """A list of one backend has no other part that could succeed."""
    denied = refusing(grpc.StatusCode.PERMISSION_DENIED, "not yours")
    async with three(kind, denied, paging([]), paging([])) as (client, _):
        with pytest.raises(RefusedError) as caught:
            await client.list(backend="a", **partial(kind))
    assert caught.value.status == "PERMISSION_DENIED"


@pytest.mark.parametrize("kind", FACES)
async def test_an_empty_list_is_printed_with_its_operations(kind: FaceName) -> None:
    """The field `operations` is present although it is empty."""
    async with three(kind, paging([]), paging([]), paging([])) as (client, _):
        assert await client.list() == {"operations": []}


@pytest.mark.parametrize("kind", FACES)
async def test_empty_pages_are_passed_on_until_the_end(kind: FaceName) -> None:
    """A page is the last one only if its token is empty (AIP-158)."""

    async def sparse(request: Any, _context: Any) -> Answer:
        step = int(request.page_token or 0)
        found = [operations_pb2.Operation(name="a/1")] if step == 2 else []
        answer: Answer = operations_pb2.ListOperationsResponse(
            operations=found, next_page_token=str(step + 1) if step < 3 else ""
        )
        return answer

    async with three(kind, sparse, paging([]), paging([])) as (client, _):
        pages = await pages_of(client)
    assert [names_of([page]) for page in pages] == [[], [], ["a/1"], []]


async def test_a_page_token_is_valid_only_for_its_caller() -> None:
    """The token of another caller is refused like a forged one."""
    alice, bob = Principal("alice", "test"), Principal("bob", "test")
    async with (
        ContraryBackend.open({"ListOperations": paging(numbered("a", 9))}) as backend,
        service_of(backend.target) as service,
    ):
        page = await service.list(alice, ListRequest())
        again = await service.list(alice, ListRequest(page_token=page.next_page_token))
        assert again.next_page_token
        with pytest.raises(StatusError) as caught:
            await service.list(bob, ListRequest(page_token=page.next_page_token))
        assert caught.value.reason == "INVALID_PAGE_TOKEN"


async def test_the_backends_of_a_list_are_called_at_once() -> None:
    """In this test no backend answers before all three have been called."""
    gathered = asyncio.Barrier(3)

    async def listed(_request: Any, _context: Any) -> Answer:
        await gathered.wait()
        answer: Answer = operations_pb2.ListOperationsResponse()
        return answer

    async with (
        ContraryBackend.open({"ListOperations": listed}) as backend,
        asyncio.timeout(60),
    ):
        config = GatewayConfig.model_validate(
            {"backends": [{"name": name, "target": backend.target} for name in "abc"]}
        )
        async with Gateway.open(config) as gateway:
            page = await gateway.service.list(ANONYMOUS, ListRequest())
    assert (page.operations, page.next_page_token) == ((), "")
