"""The endpoint of MCP at `/mcp`: the checks before the SDK sees a request."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lro_gateway.access.resource import challenge_of, may_challenge
from lro_gateway.errors import StatusError
from lro_gateway.mcp.envelope import envelope_error
from lro_gateway.mcp.quick_calls import is_quick
from lro_gateway.mcp.step_up import needed_scopes, step_up_body
from lro_gateway.rest.disconnection import UntilLeft
from lro_gateway.rest.errors import answer_to, not_allowed

_DISCONNECT: Final = "http.disconnect"


class McpEndpoint:
    """ASGI app that passes valid messages to the SDK, and only those that arrived completely.

    It serves only POST. Older clients may open a stream by GET and end a session by DELETE. The
    gateway keeps no sessions, so it would never send anything on that stream.
    """

    def __init__(self, sdk_app: ASGIApp, quick: ASGIApp | None = None) -> None:
        """Set what answers quick calls, which is `sdk_app` by default."""
        self._sdk_app = sdk_app
        self._quick = quick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] != "POST":
            refusal = await answer_to(not_allowed(["POST"]), Request(scope))
            await refusal(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            # The SDK would log a traceback for a client that leaves before its body has arrived.
            return
        refused = envelope_error(body)
        if refused is not None:
            response = Response(refused, 400, media_type="application/json")
            await response(scope, receive, send)
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        if may_challenge(scope):
            send = _StepUp(scope, body, send).send
        del body  # A stream may last for hours.
        if self._quick is None or not is_quick(scope["headers"]):
            await self._sdk_app(scope, replay, send)
            return
        with UntilLeft(scope):
            await self._quick(scope, replay, send)


class _StepUp:
    """The answer to a request that may need other scopes.

    The SDK may begin its answer before the call has failed. So the head is held back until the
    first part of the body, which comes with the result or after 15 s.
    """

    def __init__(self, scope: Scope, body: bytes, send: Send) -> None:
        self._scope = scope
        self._body = body
        self._send = send
        self._head: Message | None = None
        self._is_refused = False

    async def send(self, message: Message) -> None:
        """Send a part of the answer, or the refusal instead of the whole answer."""
        if message["type"] == "http.response.start":
            self._head = message
            return
        if self._head is not None:
            head, self._head = self._head, None
            if (error := needed_scopes(self._scope)) is not None:
                self._is_refused = True
                await self._refuse(error)
                return
            await self._send(head)
        if not self._is_refused:
            await self._send(message)

    async def _refuse(self, error: StatusError) -> None:
        refusal = Response(
            step_up_body(self._body, error),
            error.code.http_status,
            challenge_of(self._scope, error),
            "application/json",
        )
        await self._send(
            {
                "type": "http.response.start",
                "status": refusal.status_code,
                "headers": refusal.raw_headers,
            }
        )
        await self._send({"type": "http.response.body", "body": refusal.body})


async def _body(receive: Receive) -> bytes | None:
    """Return the body, whose size the guard has limited, or None if the client has left."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == _DISCONNECT:
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
