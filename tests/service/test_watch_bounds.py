"""The bounds of watches: in all, by caller and by backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import pytest
from google.longrunning import operations_pb2
from mcp.shared.exceptions import MCPError

from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import Code, StatusError
from lro_gateway.gateway import Gateway
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import ListRequest, NameRequest, WaitRequest
from lro_gateway.service.watch_bounds import TRACKERS, WatchBounds
from tests.access.guarded import ALICE, BOB, Recording, guarded, mcp, rest
from tests.contrary import Answer, ContraryBackend, answering


async def running(request: Any, _context: Any) -> Answer:
    """Answer that the operation runs, whatever its name is."""
    answer: Answer = operations_pb2.Operation(name=request.name)
    return answer


LISTED = operations_pb2.ListOperationsResponse()
HANDLERS = {"GetOperation": running, "ListOperations": answering(LISTED)}


@asynccontextmanager
async def opened(limits: Mapping[str, int], **backend: int) -> AsyncIterator[OperationService]:
    """Open the service of two backends, whose settings and whose limits these are."""
    async with ContraryBackend.open(HANDLERS) as server:
        entry = {"target": server.target, "descriptors": [], **backend}
        backends = [{"name": name, **entry} for name in ("a", "b")]
        config = GatewayConfig.model_validate({"limits": dict(limits), "backends": backends})
        async with Gateway.open(config) as gateway:
            yield gateway.service


class Following:
    """Streams that are open until the test ends."""

    def __init__(self, service: OperationService, stack: AsyncExitStack) -> None:
        self._service = service
        self._stack = stack

    async def operation(self, caller: Principal, name: str, backend: str = "a") -> None:
        """Follow an operation."""
        watch = self._service.watch(caller, NameRequest(name, backend))
        await anext(await self._stack.enter_async_context(aclosing(watch)))

    async def operations(self, caller: Principal) -> None:
        """Follow the operations of a backend."""

        async def view(operation: object) -> str:
            return str(operation)

        watch = self._service.watch_list(caller, ListRequest("", "a"), view, every=10)
        await anext(await self._stack.enter_async_context(aclosing(watch)))


def refusal(error: StatusError) -> tuple[Code, str | None, dict[str, str]]:
    """Return the code, the reason and the metadata of an error."""
    info = error.info
    return error.code, error.reason, dict(info.metadata) if info is not None else {}


async def test_a_caller_has_a_share_of_the_watches() -> None:
    """Watches of operations and of lists count, even those of one operation. Waits count too."""
    async with opened({"max_watches_per_principal": 2}) as service, AsyncExitStack() as stack:
        following = Following(service, stack)
        await following.operation(ALICE, "jobs/1")
        await following.operations(ALICE)
        for attempt in (
            following.operation(ALICE, "jobs/1", "b"),
            following.operations(ALICE),
            service.wait(ALICE, WaitRequest("jobs/1", backend="a")),
        ):
            with pytest.raises(StatusError) as raised:
                await attempt
            assert refusal(raised.value) == (
                Code.RESOURCE_EXHAUSTED,
                "TOO_MANY_WATCHES",
                {"limit": "2", "setting": "limits.max_watches_per_principal"},
            )
        await following.operation(BOB, "jobs/1")
        # A watch that ends gives its place back.
        await stack.aclose()
        await Following(service, stack).operation(ALICE, "jobs/1")


async def test_callers_without_an_identity_share_by_address() -> None:
    """Connections of one address count together."""
    async with opened({"max_watches_per_principal": 1}) as service, AsyncExitStack() as stack:
        following = Following(service, stack)
        await following.operation(Principal(peer=("192.0.2.1", 1)), "jobs/1")
        with pytest.raises(StatusError):
            await following.operation(Principal(peer=("192.0.2.1", 2)), "jobs/1")
        await following.operation(Principal(peer=("192.0.2.2", 1)), "jobs/1")


async def test_all_callers_together_have_a_bound() -> None:
    """It is no fault of the caller, so the code is UNAVAILABLE."""
    async with opened({"max_watches": 1}) as service, AsyncExitStack() as stack:
        following = Following(service, stack)
        await following.operation(ALICE, "jobs/1")
        with pytest.raises(StatusError) as raised:
            await following.operations(BOB)
        assert refusal(raised.value) == (
            Code.UNAVAILABLE,
            "TOO_MANY_WATCHES",
            {"limit": "1", "setting": "limits.max_watches"},
        )


async def test_a_backend_has_a_bound_of_its_own() -> None:
    """Another backend has room, and so has the backend's list."""
    async with opened({}, max_watches=1) as service, AsyncExitStack() as stack:
        following = Following(service, stack)
        await following.operation(ALICE, "jobs/1", "a")
        with pytest.raises(StatusError) as raised:
            await following.operation(BOB, "jobs/2", "a")
        assert refusal(raised.value) == (
            Code.UNAVAILABLE,
            "TOO_MANY_WATCHES",
            {"limit": "1", "setting": "max_watches", "backend": "a"},
        )
        await following.operation(BOB, "jobs/2", "b")
        await following.operations(BOB)


async def test_the_faces_refuse_a_watch_over_a_bound() -> None:
    """REST answers 429. MCP refuses a subscription as a whole, and follows nothing of it."""
    limits = {"max_watches_per_principal": 2}
    async with (
        asyncio.timeout(60),
        ContraryBackend.open(HANDLERS) as server,
        guarded(
            Recording(),
            {"name": "b", "target": server.target, "descriptors": []},
            limits=limits,
        ) as url,
        rest(url) as client,
        mcp(url) as agent,
    ):
        uris = [f"operation://b/jobs/{number}" for number in range(3)]
        with pytest.raises(MCPError, match=r"see limits\.max_watches_per_principal"):
            async with agent.listen(resource_subscriptions=uris):
                pass
        async with (
            client.stream("GET", "/v1/jobs/1:watch"),
            client.stream("GET", "/v1/jobs/1:watch"),
        ):
            refused = await client.get("/v1/jobs/1:watch")
            assert refused.status_code == 429
            assert refused.json()["error"]["details"][0]["reason"] == "TOO_MANY_WATCHES"
            assert "retry-after" not in refused.headers
            told = await agent.call_tool(
                "wait_operation", {"name": "jobs/1", "backend": "b", "timeout": "20s"}
            )
        assert told.is_error
        assert "End a wait or a subscription" in str(told.content)


async def test_what_is_followed_for_webhooks_is_not_bounded() -> None:
    """It belongs to no caller, and takes no watch away from one."""
    bounds = WatchBounds(1, 1, {"a": 1})
    for _ in range(3):
        bounds.enter(TRACKERS, "a")
    bounds.enter((("alice",), None), "a")
    with pytest.raises(StatusError, match="1 watches are open"):
        bounds.enter((("alice",), None), "a")
    for _ in range(3):
        bounds.leave(TRACKERS, "a")
    bounds.leave((("alice",), None), "a")
    bounds.enter((("bob",), None), "a")
