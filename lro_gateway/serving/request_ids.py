"""The id of each HTTP request, in the header `X-Request-Id` of its answer and in its log lines."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lro_gateway.log_context import REQUEST_ID

HEADER: Final = "x-request-id"

NAME: Final = HEADER.encode()
_SANE: Final = re.compile(rb"[!-~]{1,128}")
"""The ids of callers that the gateway takes: visible ASCII of at most 128 characters."""


def new_request_id() -> str:
    """Return an id for a request whose caller gave none."""
    return secrets.token_hex(16)


@contextmanager
def logging_as(request_id: str) -> Iterator[None]:
    """Give this id to the lines that are logged inside the context."""
    token = REQUEST_ID.set(request_id)
    try:
        yield
    finally:
        REQUEST_ID.reset(token)


class RequestIds:
    """ASGI middleware in front of all others, so that each answer of theirs has the id too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the caller's id if it is sane, or make one, and add it to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == NAME]
        # Several ids could be meant for several programs, so none of them is taken.
        is_sane = len(given) == 1 and _SANE.fullmatch(given[0])
        request_id = given[0] if is_sane else new_request_id().encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (NAME, request_id)]
                message = {**message, "headers": headers}
            await send(message)

        with logging_as(request_id.decode()):
            await self._app(scope, receive, send_with_id)
