"""A client of MCP that sends and returns plain JSON-RPC over HTTP, without the SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

EXTENSION = "io.modelcontextprotocol/tasks"
DECLARED: dict[str, Any] = {"extensions": {EXTENSION: {}}}
_ACCEPT = {"Accept": "application/json, text/event-stream"}
_NAMED = {"tools/call": "name", "resources/read": "uri"}
"""The methods whose header Mcp-Name repeats a parameter."""


class RpcError(Exception):
    """A JSON-RPC error, with the HTTP status of its response."""

    def __init__(self, http_status: int, error: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.http_status = http_status
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


@dataclass
class Wire:
    """A client of one revision of the protocol, which sends any method and any params."""

    http: httpx.AsyncClient
    url: str
    version: str = "2026-07-28"
    capabilities: dict[str, Any] = field(default_factory=lambda: DECLARED)

    async def __call__(self, method: str, /, headers: Any = None, **params: Any) -> dict[str, Any]:
        """Send a request, and return its result without the server's information in `_meta`.

        Raises `RpcError` if the response is an error.
        """
        request = self._request(method, params, headers)
        response = await self.http.send(self.http.build_request("POST", self.url, **request))
        events = response.text.splitlines()
        if response.headers["content-type"].startswith("text/event-stream"):
            body = json.loads([line for line in events if line.startswith("data: ")][-1][6:])
        else:
            body = response.json()
        if "error" in body:
            raise RpcError(response.status_code, body["error"])
        result: dict[str, Any] = body["result"]
        meta = result.get("_meta", {})
        meta.pop("io.modelcontextprotocol/serverInfo", None)
        if not meta:
            result.pop("_meta", None)
        return result

    @asynccontextmanager
    async def stream(self, method: str, /, **params: Any) -> AsyncIterator[AsyncIterator[Any]]:
        """Send a request; yield an iterator over the messages of its response stream.

        Raises `RpcError` if the HTTP status is an error.
        """
        request = self._request(method, params, None)
        async with self.http.stream("POST", self.url, **request) as response:
            if not response.is_success:
                body = json.loads(await response.aread())
                raise RpcError(response.status_code, body["error"])
            yield _messages(response)

    def _request(self, method: str, params: dict[str, Any], headers: Any) -> dict[str, Any]:
        sent = {**_ACCEPT, "MCP-Protocol-Version": self.version, **(headers or {})}
        if self.version >= "2026-07-28":
            sent.setdefault("Mcp-Method", method)
            if method in _NAMED:
                sent.setdefault("Mcp-Name", params[_NAMED[method]])
            prefix = "io.modelcontextprotocol"
            params["_meta"] = {
                **params.get("_meta", {}),
                f"{prefix}/protocolVersion": self.version,
                f"{prefix}/clientCapabilities": self.capabilities,
            }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return {"json": body, "headers": sent}


async def _messages(response: httpx.Response) -> AsyncIterator[Any]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


@asynccontextmanager
async def wire(
    url: str, version: str = "2026-07-28", capabilities: dict[str, Any] | None = None
) -> AsyncIterator[Wire]:
    """Open a client.

    On 2026-07-28, each request declares `capabilities`, by default the tasks extension.
    """
    async with httpx.AsyncClient(timeout=60) as http:
        yield Wire(http, url, version, DECLARED if capabilities is None else capabilities)
