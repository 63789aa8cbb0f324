"""A served gateway that identifies callers by a header, and whose policy a test controls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.datastructures import Headers

from lro_gateway.access.authentication import Scope
from lro_gateway.access.policy import Action, Explanation, MethodOffer, Reach
from lro_gateway.config.models import GatewayConfig
from lro_gateway.errors import Code, status_error
from lro_gateway.gateway import Gateway
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.serving.http import serve_http

ALICE = Principal("alice", "test")
BOB = Principal("bob", "test")
HEADER = "x-subject"
_Offer = TypeVar("_Offer", bound=MethodOffer)


class ByHeader:
    """Takes the subject of a caller from a header, which an authenticating proxy would set."""

    async def of_request(self, scope: Scope) -> Principal:
        subject = Headers(raw=scope["headers"]).get(HEADER)
        if not subject:
            raise status_error(Code.UNAUTHENTICATED, "who are you?", "CREDENTIALS_MISSING")
        return Principal(subject, "test")

    def of_process(self) -> Principal:
        return Principal("process", "test")


@dataclass
class Recording:
    """A policy that records its calls, and refuses and hides as a test configures it.

    `actions` has the caller and the action of each `authorize`. `filtered_for` has the caller of
    each `visible` and `offered`.
    """

    refuses: Callable[[Principal, Action], bool] = lambda _caller, _action: False
    hides: Callable[[Principal, str], bool] = lambda _caller, _name: False
    actions: list[tuple[Principal, Action]] = field(default_factory=list)
    filtered_for: list[Principal] = field(default_factory=list)

    async def authorize(self, caller: Principal, action: Action, /) -> str:
        self.actions.append((caller, action))
        if self.refuses(caller, action):
            raise status_error(Code.PERMISSION_DENIED, "not you", "NOT_ALLOWED")
        return ""

    def explain(self, _caller: Principal, _action: Action, /) -> Explanation:
        return Explanation(allowed=True)

    def reach(self, _caller: Principal, /) -> Reach | None:
        return None

    async def visible(
        self, caller: Principal, operations: Sequence[Operation], /
    ) -> Sequence[Operation]:
        self.filtered_for.append(caller)
        return [each for each in operations if not self.hides(caller, each.name)]

    async def offered(
        self, caller: Principal, offers: Mapping[str, _Offer], /, *, challenged: bool = False
    ) -> Mapping[str, _Offer]:
        del challenged
        self.filtered_for.append(caller)
        return {name: offer for name, offer in offers.items() if not self.hides(caller, name)}


@asynccontextmanager
async def guarded(
    policy: Recording, *backends: Mapping[str, Any], **tables: Mapping[str, Any]
) -> AsyncIterator[str]:
    """Serve a gateway under a policy, with these tables of the configuration; yields its URL."""
    settings = {"backends": [{"freshness": "0s", **backend} for backend in backends], **tables}
    config = GatewayConfig.model_validate({"server": {"port": 0, "sync_grace": "0s"}, **settings})
    async with (
        Gateway.open(config, policy=policy, authenticator=ByHeader()) as gateway,
        serve_http(gateway) as server,
    ):
        yield f"http://{server.address}"


def rest(url: str, caller: Principal = ALICE) -> httpx.AsyncClient:
    """Return a REST client whose requests have this caller."""
    return httpx.AsyncClient(base_url=url, headers={HEADER: caller.subject}, timeout=60)


@asynccontextmanager
async def mcp(
    url: str, caller: Principal = ALICE, mode: Any = "2026-07-28"
) -> AsyncIterator[Client]:
    """Open an MCP client whose requests have this caller."""
    async with (
        httpx2.AsyncClient(headers={HEADER: caller.subject}, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client
