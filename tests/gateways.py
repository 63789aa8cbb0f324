"""A gateway that listens on loopback, and one client for each of its faces."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx
import mcp_types as types
import pytest
from mcp import Client

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.mcp.extension_point import Extension
from lro_gateway.records.location import NOWHERE, Location
from lro_gateway.service.catalog import Offer
from lro_gateway.service.service import OperationService
from lro_gateway.serving.http import serve_http
from tests.contrary import ContraryBackend, Handler

Extend = Callable[[OperationService], Extension]
"""Makes an extension of the MCP face for a service."""


@asynccontextmanager
async def serving(
    *backends: Mapping[str, Any],
    extend: Extend | None = None,
    mcp: Mapping[str, Any] | None = None,
    store: Location = NOWHERE,
    **server: Any,
) -> AsyncIterator[str]:
    """Serve a gateway to these backends, entries of the configuration; yields its base URL.

    `mcp` is the table of that name, and `server` are keys of the table of that name. The default of
    `freshness` is 0 here, so that each read is one call and tests can count calls.
    """
    config = GatewayConfig.model_validate(
        {
            "server": {"port": 0, **server},
            "mcp": mcp or {},
            "store": {"url": store},
            "backends": [{"freshness": "0s", **backend} for backend in backends],
        }
    )
    async with Gateway.open(config) as gateway:
        extensions = [extend(gateway.service)] if extend else []
        async with serve_http(gateway, extensions=extensions) as http_server:
            yield http_server.url


async def offer_of(service: OperationService, method: str) -> Offer:
    """Return the offer of the method with this full name."""
    offers = await service.catalog.offers(wait_for_all=True)
    return next(offer for offer in offers.values() if offer.method.full_name == method)


class RefusedError(Exception):
    """A failed call, in one form for all faces; `step` is the next step that MCP gives."""

    def __init__(
        self, status: str, message: str, details: list[dict[str, Any]], step: str = ""
    ) -> None:
        super().__init__(f"{status}: {message}")
        self.step = step
        self.status = status
        self.message = message
        self.details = details

    @property
    def reason(self) -> str:
        """The reason of the ErrorInfo."""
        return str(next(d["reason"] for d in self.details if d["@type"].endswith("ErrorInfo")))

    @property
    def fields(self) -> list[str]:
        """The fields that the BadRequest names."""
        return [
            violation["field"]
            for detail in self.details
            if detail["@type"].endswith("BadRequest")
            for violation in detail["fieldViolations"]
        ]


class Face(Protocol):
    """The five verbs through one face. Each returns ProtoJSON or raises `RefusedError`."""

    async def get(self, name: str, **fields: Any) -> Any: ...
    async def list(self, **fields: Any) -> Any: ...
    async def wait(self, name: str, **fields: Any) -> Any: ...
    async def cancel(self, name: str, **fields: Any) -> Any: ...
    async def delete(self, name: str, **fields: Any) -> Any: ...


@dataclass
class RestFace:
    """Calls the REST face by httpx."""

    client: httpx.AsyncClient

    async def get(self, name: str, **fields: Any) -> Any:
        return await self._call("GET", f"/v1/{name}", fields)

    async def list(self, **fields: Any) -> Any:
        name = fields.pop("name", "")
        path = f"/v1/{name}/operations" if name else "/v1/operations"
        return await self._call("GET", path, fields)

    async def wait(self, name: str, **fields: Any) -> Any:
        return await self._call("POST", f"/v1/{name}:wait", fields)

    async def cancel(self, name: str, **fields: Any) -> Any:
        return await self._call("POST", f"/v1/{name}:cancel", fields)

    async def delete(self, name: str, **fields: Any) -> Any:
        return await self._call("DELETE", f"/v1/{name}", fields)

    async def _call(self, method: str, path: str, fields: Mapping[str, Any]) -> Any:
        response = await self.client.request(method, path, params=dict(fields))
        body = response.json()
        if response.is_success:
            return body
        error = body["error"]
        assert error["code"] == response.status_code
        raise RefusedError(error["status"], error["message"], error.get("details", []))


@dataclass
class McpFace:
    """Calls the MCP tools by the client of the MCP SDK."""

    client: Client

    async def get(self, name: str, **fields: Any) -> Any:
        return await self._call("get_operation", {"name": name, **fields})

    async def list(self, **fields: Any) -> Any:
        return await self._call("list_operations", fields)

    async def wait(self, name: str, **fields: Any) -> Any:
        return await self._call("wait_operation", {"name": name, **fields})

    async def cancel(self, name: str, **fields: Any) -> Any:
        return await self._call("cancel_operation", {"name": name, **fields})

    async def delete(self, name: str, **fields: Any) -> Any:
        return await self._call("delete_operation", {"name": name, **fields})

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Any:
        result = await self.client.call_tool(tool, arguments)
        texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
        answer = json.loads(texts[0])
        if result.is_error:
            details = answer.get("details", [])
            raise RefusedError(answer["status"], answer["message"], details, texts[1])
        assert answer == result.structured_content
        assert len(texts) == 2
        return answer


FaceName = Literal["rest", "mcp 2026-07-28", "mcp legacy"]
FACES: tuple[FaceName, ...] = ("rest", "mcp 2026-07-28", "mcp legacy")


@asynccontextmanager
async def face(kind: FaceName, base_url: str) -> AsyncIterator[Face]:
    """Open a client of one face of the gateway at `base_url`."""
    if kind == "rest":
        async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:
            yield RestFace(client)
    else:
        mode = "legacy" if kind == "mcp legacy" else "2026-07-28"
        async with Client(f"{base_url}/mcp", mode=mode) as client:
            yield McpFace(client)


@asynccontextmanager
async def opened(
    kind: FaceName, *backends: Mapping[str, Any], **server: Any
) -> AsyncIterator[Face]:
    """Serve a gateway to these backends, and open a client of one face."""
    async with serving(*backends, **server) as url, face(kind, url) as client:
        yield client


@asynccontextmanager
async def service_of(
    target: str, *, limits: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[OperationService]:
    """Open a gateway to one backend, `b`, by default without descriptors; yields its service."""
    backend = {"name": "b", "target": target, "descriptors": [], **settings}
    config = GatewayConfig.model_validate({"limits": limits or {}, "backends": [backend]})
    async with Gateway.open(config) as gateway:
        yield gateway.service


@asynccontextmanager
async def behind(
    kind: FaceName, handlers: Mapping[str, Handler], **settings: Any
) -> AsyncIterator[tuple[Face, ContraryBackend]]:
    """Serve a gateway to one backend, `b`; yields a client of one face and the backend."""
    async with (
        ContraryBackend.open(handlers) as backend,
        opened(kind, {"name": "b", "target": backend.target, **settings}) as client,
    ):
        yield client, backend


async def refusal(call: Any) -> RefusedError:
    """Return the error of a call that must fail."""
    with pytest.raises(RefusedError) as caught:
        await call
    return caught.value
