"""The errors for requests over a limit, and for bytes that are no valid HTTP request."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.rest.errors import error_response

logger: Final = logging.getLogger(__name__)

REFUSAL_KEY: Final = "lro_gateway.refusal"
"""The key of the refusal in the scope of a request that its connection refuses."""
EXPECTS_KEY: Final = "lro_gateway.expects"
"""The key in the scope of a request whose client waits for 100 Continue before the body."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error for a request that the gateway refuses, and its HTTP status.

    If `closes` is true, the gateway then closes the connection.
    """

    error: StatusError
    http_status: int
    closes: bool = True

    def log(self, client: object) -> None:
        """Log the refusal. `client` is the address of the client.

        Each reason has a logger of its own, because the limit for repeated lines counts by logger.
        """
        logger.getChild(self.error.reason or "").warning(
            "refused %s: %s", client, self.error.message
        )

    def response(self) -> Any:
        """Return the refusal as a response of Starlette."""
        headers = {"connection": "close"} if self.closes else None
        return error_response(self.error, http_status=self.http_status, headers=headers)

    def to_bytes(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return the refusal as an HTTP/1.1 response that has these headers too."""
        response = self.response()
        lines = [b"%b: %b\r\n" % each for each in (*headers, *response.raw_headers)]
        return b"".join([STATUS_LINE[self.http_status], *lines, b"\r\n", response.body])


def too_many_connections(limit: int, setting: str, *, of_address: bool) -> Refusal:
    """Return the refusal of a connection. `setting` sets `limit`."""
    owner = "this address has" if of_address else "the gateway has"
    code = Code.RESOURCE_EXHAUSTED if of_address else Code.UNAVAILABLE
    text = f"{owner} its maximum of {limit} connections; close some, or see {setting}"
    error = status_error(
        code, text, "TOO_MANY_CONNECTIONS", metadata={"limit": str(limit), "setting": setting}
    )
    return Refusal(error, code.http_status)


def too_many_requests(limit: int, setting: str, *, in_all: bool) -> Refusal:
    """Return the refusal of a request, because too many of them have no answer yet."""
    code = Code.UNAVAILABLE if in_all else Code.RESOURCE_EXHAUSTED
    text = f"{limit} requests have no answer yet, which is the maximum; see {setting}"
    error = status_error(
        code, text, "TOO_MANY_REQUESTS", metadata={"limit": str(limit), "setting": setting}
    )
    return Refusal(error, code.http_status, closes=False)


def too_many_streams(limit: int, setting: str, *, in_all: bool) -> Refusal:
    """Return the refusal of a wait or a stream."""
    code = Code.UNAVAILABLE if in_all else Code.RESOURCE_EXHAUSTED
    text = f"{limit} waits and streams are open, which is the maximum; see {setting}"
    error = status_error(
        code, text, "TOO_MANY_STREAMS", metadata={"limit": str(limit), "setting": setting}
    )
    return Refusal(error, code.http_status, closes=False)


def headers_too_large(limit: int, unit: str, setting: str) -> Refusal:
    """Return the refusal of a request with too many or too large headers."""
    text = f"the headers of a request may have at most {limit} {unit}; see {setting}"
    metadata = {"limit": str(limit), "setting": setting}
    error = status_error(Code.INVALID_ARGUMENT, text, "HEADERS_TOO_LARGE", metadata=metadata)
    return Refusal(error, 431)


def target_too_large(limit: int, setting: str) -> Refusal:
    """Return the refusal of a request with a too long path and query."""
    text = f"the path and query of a request may have at most {limit} bytes; see {setting}"
    metadata = {"limit": str(limit), "setting": setting}
    error = status_error(Code.INVALID_ARGUMENT, text, "TARGET_TOO_LARGE", metadata=metadata)
    return Refusal(error, 414)


def timed_out(part: str, seconds: float, setting: str) -> Refusal:
    """Return the refusal of a request, a part of which did not arrive in time."""
    text = f"the {part} of the request did not arrive within {seconds:g} s; see {setting}"
    metadata = {"limit": f"{seconds:g}s", "setting": setting}
    error = status_error(Code.DEADLINE_EXCEEDED, text, "REQUEST_TIMEOUT", metadata=metadata)
    return Refusal(error, 408)


def bad_request(problem: str) -> Refusal:
    """Return the refusal of a request that breaks a rule of HTTP."""
    return Refusal(status_error(Code.INVALID_ARGUMENT, problem, "BAD_REQUEST"), 400)
