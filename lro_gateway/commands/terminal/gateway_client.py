"""A client of one gateway: operations over REST, and methods over MCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import httpx2

from lro_gateway import __version__
from lro_gateway.commands.terminal.answers import (
    JSON,
    NEVER,
    checked,
    is_stream,
    member,
    parsed,
    refused,
    structured,
)
from lro_gateway.commands.terminal.failures import CommandError, RefusedError, UnreachableError
from lro_gateway.errors import unreached

_ANY_NAME: Final = "/v1/-"
"""The path that takes the name from a parameter, so that every name can be written."""
_MINE: Final = "/v1/operations:mine"
APPROVALS: Final = "approvals/"
"""The beginning of the name of a call that needs an approval."""
_APPROVALS: Final = "/v1/approvals"
NO_ROUTE: Final = frozenset({"UNKNOWN_PATH", "UNKNOWN_FIELD"})
"""The reasons of a gateway that takes a path as the name of an operation."""
_NO_APPROVALS: Final = (
    "no call needs an approval here; approval in [[backends]] names the methods that need one"
)
_PATIENCE: Final = 60.0
"""Seconds for which a lost stream of changes is opened again."""
_PAUSE: Final = 1.0
_WAITS: Final = 75.0
"""The maximum number of seconds until an answer. A wait over REST takes at most 50."""
_SILENCE: Final = httpx2.Timeout(10.0, read=45.0)
"""The limits of a stream. The gateway sends a comment at least every 15 seconds."""
_PROTOCOL: Final = "2026-07-28"
_META: Final = "io.modelcontextprotocol"

_CALL_METHOD: Final = "call_method"
"""The tool that calls a method by its name, and tells which names are like an unknown one."""
_DESCRIBE_METHOD: Final = "describe_method"
_SEARCH_METHODS: Final = "search_methods"

_REPEAT: Final = "lro-gateway/idempotency_replayed"

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

Agree = Callable[[str], bool]
"""Shows a question to a person, and returns whether the person agrees."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The operations that a list has found, and the names of backends that could not be reached."""

    operations: Sequence[JSON]
    unreachable: Sequence[str] = ()
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """The answer of a method. `is_repeat` tells that an earlier call had the idempotency key."""

    answer: JSON
    is_repeat: bool


class GatewayClient:
    """Calls one gateway. `where` names it in messages, and `cure` says what to do without it.

    With a `backend`, all operations are those of this backend.

    Each operation has the member `summary` beside its own. Each call raises `UnreachableError` if
    nothing answers, and `RefusedError` if the call is refused.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        *,
        where: str,
        cure: str,
        agree: Agree,
        backend: str = "",
    ) -> None:
        self._http = http
        self._backend = backend
        self._where = where
        self._cure = cure
        self._agree = agree

    async def list(self, *, limit: int, **query: str) -> Listing:
        """Return `limit` operations or more, if there are so many, from as many pages as they need.

        A backend may answer more operations than it was asked for, and in any order.
        """
        found: list[JSON] = []
        unreachable: dict[str, None] = {}
        token = ""
        while True:
            page = await self._json(
                "GET",
                "/v1/operations",
                pageSize=str(min(limit - len(found), 1000)),
                pageToken=token,
                returnPartialSuccess="true",
                summary="true",
                backend=self._backend,
                has="operations",
                **query,
            )
            found += page["operations"]
            unreachable.update(dict.fromkeys(page.get("unreachable", ())))
            token = page.get("nextPageToken", "")
            if not token or len(found) >= limit:
                return Listing(found, tuple(unreachable), bool(token))

    async def list_mine(self, *, limit: int, **query: str) -> Listing:
        """Return up to `limit` operations that the caller has started, the newest first."""
        found: list[JSON] = []
        token = ""
        while True:
            size = str(min(limit - len(found), 100))
            given = {"pageSize": size, "pageToken": token, "backend": self._backend, **query}
            page = await self._json("GET", _MINE, has="operations", **given)
            found += [_with_summary(each) for each in page["operations"]]
            token = page.get("nextPageToken", "")
            if not token or len(found) >= limit:
                return Listing(found[:limit], (), bool(token))

    async def approvals(self, state: str, limit: int) -> Sequence[JSON]:
        """Return up to `limit` calls that need an approval, the newest first."""
        found: list[JSON] = []
        token = ""
        while True:
            size = str(min(limit - len(found), 100))
            query = {"state": state, "pageSize": size, "pageToken": token}
            try:
                page = await self._json("GET", _APPROVALS, has="approvals", **query)
            except RefusedError as error:
                if error.reason not in NO_ROUTE:
                    raise
                raise CommandError(_NO_APPROVALS) from error
            asked = self._backend
            found += [each for each in page["approvals"] if asked in {"", each.get("backend")}]
            token = page.get("nextPageToken", "")
            if not token or len(found) >= limit:
                return found

    async def decide(self, name: str, verb: str, reason: str) -> JSON:
        """Approve or refuse a call; return its handle."""
        body = {"reason": reason} if reason else {}
        return await self.send("POST", f"/v1/{name}:{verb}", body=body)

    async def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] = _NOTHING,
        *,
        body: JSON | None = None,
        has: str = "",
    ) -> JSON:
        """Make a request with a JSON body, and return the answer. Empty parameters are left out.

        What answers without the member `has` is no gateway.
        """
        given = {key: value for key, value in query.items() if value}
        more = {} if body is None else {"json": body}
        return checked(await self._send(method, path, params=given, **more), self._where, has)

    async def get(self, name: str) -> JSON:
        """Return an operation."""
        query = self._named(name)
        return await self._json("GET", _ANY_NAME, has="summary", summary="true", **query)

    async def cancel(self, name: str) -> None:
        """Request the cancellation of an operation."""
        await self._confirmed("POST", f"{_ANY_NAME}:cancel", **self._named(name))

    async def delete(self, name: str) -> None:
        """Delete the record of an operation."""
        await self._confirmed("DELETE", _ANY_NAME, **self._named(name))

    def _named(self, name: str) -> Mapping[str, str]:
        # The handle of an approval is the gateway's own, and no backend's.
        backend = "" if name.startswith(APPROVALS) else self._backend
        return {"name": name, "backend": backend} if backend else {"name": name}

    async def follow(self, name: str) -> AsyncGenerator[JSON]:
        """Yield an operation now and at each change, until it is done.

        A stream that is lost is opened again, for up to a minute after the last state that came.
        """
        loop = asyncio.get_running_loop()
        patient_until = 0.0
        latest: JSON = {}
        while True:
            try:
                async with aclosing(self._events(name)) as events:
                    async for operation in events:
                        patient_until = loop.time() + _PATIENCE
                        if operation != latest:
                            latest = operation
                            yield operation
                        if operation["done"]:
                            return
            except CommandError as error:
                if error.status != UnreachableError.status or loop.time() >= patient_until:
                    raise
            await asyncio.sleep(_PAUSE)

    async def _events(self, name: str) -> AsyncGenerator[JSON]:
        query = {"summary": "true", **self._named(name)}
        try:
            async with self._http.stream(
                "GET", f"{_ANY_NAME}:watch", params=query, timeout=_SILENCE
            ) as response:
                if not (response.is_success and is_stream(response)):
                    await response.aread()
                    checked(response, self._where, NEVER)
                async for event in httpx2.EventSource(response, None):
                    if event.event == "operation":
                        yield parsed(event.data, response, self._where, "summary")
                    elif event.event == "status":
                        raise refused(parsed(event.data, response, self._where, "error")["error"])
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error

    async def call(
        self, method: str, arguments: Mapping[str, Any], key: str | None = None
    ) -> Called:
        """Call a method of a service; return what it returns, which may be an operation.

        With an idempotency key, a repeat of the same call starts nothing.
        """
        meta = {} if key is None else {"idempotency_key": key}
        result = await self._result(_CALL_METHOD, {"name": method, "arguments": arguments}, meta)
        is_repeat = _REPEAT in result.get("_meta", {})
        return Called(structured(result), is_repeat=is_repeat)

    async def describe(self, method: str) -> JSON:
        """Return the tool of a method: its description, and the schema of its request."""
        return await self._tool(_DESCRIBE_METHOD, {"name": method})

    async def methods(self) -> Sequence[JSON]:
        """Return the `name` and the `description` of each method."""
        found: list[JSON] = []
        token = ""
        while True:
            page = await self._tool(_SEARCH_METHODS, {"pageToken": token})
            found += page["methods"]
            if not (token := page.get("nextPageToken", "")):
                return found

    async def _tool(self, name: str, arguments: Mapping[str, Any]) -> JSON:
        """Call a tool, and return what it returned."""
        return structured(await self._result(name, arguments))

    async def _result(
        self, name: str, arguments: Mapping[str, Any], more: Mapping[str, Any] = _NOTHING
    ) -> JSON:
        """Call a tool, and return the whole result. A person answers the questions."""
        params: JSON = {"name": name, "arguments": arguments}
        while True:
            result = await self._call_tool(params, more)
            if result.get("resultType") != "input_required":
                return result
            answers = {
                key: self._answer(request) for key, request in result["inputRequests"].items()
            }
            params |= {"inputResponses": answers, "requestState": result.get("requestState")}

    def _answer(self, request: Mapping[str, Any]) -> JSON:
        """Ask a person the question of the gateway, which is whether to make the call."""
        if not self._agree(request["params"]["message"]):
            return {"action": "decline"}
        fields = request["params"]["requestedSchema"]["properties"]
        return {"action": "accept", "content": dict.fromkeys(fields, True)}

    async def _call_tool(self, params: Mapping[str, Any], more: Mapping[str, Any]) -> JSON:
        meta = {
            **more,
            f"{_META}/protocolVersion": _PROTOCOL,
            f"{_META}/clientInfo": {"name": "lro-gateway", "version": __version__},
            f"{_META}/clientCapabilities": {"elicitation": {"form": {}}},
        }
        sent = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {**params, "_meta": meta},
        }
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": _PROTOCOL,
            "mcp-method": "tools/call",
            "mcp-name": params["name"],
        }
        response = await self._send("POST", "/mcp", json=sent, headers=headers)
        text = response.text
        if is_stream(response):
            # JSON may have other characters that end a line for Python.
            text = [line for line in text.split("\n") if line.startswith("data: ")][-1][6:]
        answer = parsed(text, response, self._where)
        if isinstance(error := answer.get("error"), dict):
            raise RefusedError("INVALID_ARGUMENT", str(error.get("message", "")))
        result: JSON = member(answer, "result", response, self._where)
        return result

    async def _confirmed(self, method: str, path: str, **query: str) -> None:
        """Make a call that may need a person's agreement."""
        try:
            await self._json(method, path, **query)
        except RefusedError as error:
            question = f"{error} Make this call?"
            if error.reason != "CONFIRMATION_REQUIRED" or not self._agree(question):
                raise
            headers = {"lro-gateway-confirmed": "true"}
            response = await self._send(method, path, params=query, headers=headers)
            checked(response, self._where)

    async def _json(self, method: str, path: str, /, has: str = "", **query: str) -> JSON:
        return await self.send(method, path, query, has=has)

    async def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        try:
            return await self._http.request(method, path, timeout=_WAITS, **request)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UnreachableError:
        why = unreached(error).rstrip(".")
        return UnreachableError(f"cannot reach {self._where}: {why}. {self._cure}")


def _with_summary(entry: JSON) -> JSON:
    """Return an entry of the journal in the form of an operation with a summary."""
    method = entry.get("method", "").rpartition("/")[2]
    summary = {
        "state": entry["state"],
        "backend": entry["backend"],
        "kind": method or None,
        "percent": entry.get("percent"),
        "createTime": entry["startTime"],
        "updateTime": entry["updateTime"],
    }
    known = {key: value for key, value in summary.items() if value is not None}
    return {"name": "", **entry, "done": "endTime" in entry, "summary": known}
