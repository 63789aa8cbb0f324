"""The checks of every HTTP request for every face: Host, Origin, caller and size of the body.

Every web page that a person opens can send requests to a gateway on the loopback address of that
person's machine. The Host check stops a page that rebinds its own host name to 127.0.0.1. The
Origin check stops a page that sends requests across sites. A browser sends no Origin for an image
or a link, so the guard then looks at Sec-Fetch-Site.
"""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lro_gateway.access.audit import Audit
from lro_gateway.access.authentication import set_caller, set_refusal
from lro_gateway.access.resource import WELL_KNOWN, challenge_of, put_resource
from lro_gateway.config.callers import Callers
from lro_gateway.errors import Code, StatusError, quote, status_error, unexpected_error
from lro_gateway.rest.console.routes import DOCS_FILES, OPEN
from lro_gateway.rest.errors import error_response
from lro_gateway.rest.fetch_metadata import (
    cross_site,
    is_from_elsewhere,
    is_from_same_site,
    is_visit,
)
from lro_gateway.serving.admission import Admission
from lro_gateway.serving.heads import PROBES
from lro_gateway.serving.refusals import EXPECTS_KEY

logger: Final = logging.getLogger(__name__)

_OPEN: Final = frozenset(path.encode() for path in OPEN)
_OPEN_FOLDERS: Final = (WELL_KNOWN.encode(), f"/{DOCS_FILES}/".encode())
_READ_AT_MOST: Final = 16
"""The guard reads a refused body to its end if it is at most this many times the limit."""


class Guard:
    """ASGI middleware in front of all faces; it refuses requests that fail a check."""

    def __init__(
        self,
        app: ASGIApp,
        admission: Admission,
        callers: Callers,
        audit: Audit,
        *,
        max_body_bytes: int,
    ) -> None:
        self._app = app
        self._admission = admission
        self._authenticator = callers.authenticator
        self._resource = callers.resource
        self._audit = audit
        self._limit = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the app, or answer it with an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # Probes use the address of the gateway as the Host.
        is_probe = scope["raw_path"] in PROBES
        refused = None if is_probe else self._refusal(scope["method"], headers)
        if refused is None:
            refused = await self._authenticate(scope)
            if refused is not None and (is_probe or _is_open(scope["raw_path"])):
                set_refusal(scope, refused)
                refused = None
        if refused is not None:
            response = error_response(refused, headers=challenge_of(scope, refused))
            await response(scope, receive, send)
            return
        # Every HTTP method is checked, because some routes read the body of a GET.
        if not _has_body(headers) or self._fits(headers):
            del headers  # A stream may last for hours.
            try:
                await self._app(scope, receive, send)
            except ClientDisconnect:
                # The client left in the middle of its body, so no one reads an answer.
                return
            return
        body = None
        if EXPECTS_KEY not in scope or "content-length" not in headers:
            body = await self._body(headers, receive)
        if body is None:
            await error_response(self._too_large(), http_status=413)(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _authenticate(self, scope: Scope) -> StatusError | None:
        """Set the caller of a request, or return the error of a request without a valid caller."""
        if self._resource is not None:
            put_resource(scope, self._resource)
        try:
            set_caller(scope, await self._authenticator.of_request(scope))
        except StatusError as error:
            _log(scope, error)
            self._audit.sign_in_failure(_host(scope), error)
            return error
        except Exception as error:  # noqa: BLE001 - unexpected_error logs it
            return unexpected_error("the authentication of a request", error)
        return None

    def _refusal(self, method: str, headers: Headers) -> StatusError | None:
        hosts = headers.getlist("host")
        if len(hosts) > 1:
            text = f"the request has {len(hosts)} Host headers; send one"
            return status_error(Code.INVALID_ARGUMENT, text, "BAD_REQUEST")
        host = "".join(hosts)
        if not self._admission.allows_host(host):
            found = f"the Host {quote(host)} is not allowed" if host else "there is no Host header"
            return status_error(
                Code.PERMISSION_DENIED,
                f"{found}; use an address of the gateway, or add the host to server.allowed_hosts",
                "HOST_NOT_ALLOWED",
                metadata={"host": quote(host), "setting": "server.allowed_hosts"},
            )
        if is_from_elsewhere(headers) and not self._may_come(method, headers, host):
            return cross_site(headers)
        origin = headers.get("origin")
        if origin is None or self._admission.lists_origin(origin):
            return None
        if self._admission.is_own(origin, host):
            return None
        return status_error(
            Code.PERMISSION_DENIED,
            f"the Origin {quote(origin)} is not allowed; add it to server.allowed_origins",
            "ORIGIN_NOT_ALLOWED",
            metadata={"origin": quote(origin), "setting": "server.allowed_origins"},
        )

    def _may_come(self, method: str, headers: Headers, host: str) -> bool:
        """Return whether a page of another origin may cause a request that names no origin.

        A link may open any page in a browser's tab. The routes of methods refuse the links that
        would start something. On loopback, each page that this machine serves may send requests.
        """
        is_local = self._admission.is_local(host)
        return is_visit(method, headers) or (is_local and is_from_same_site(headers))

    def _fits(self, headers: Headers) -> bool:
        """Return whether Content-Length is within the limit.

        uvicorn ensures that the body is not longer than Content-Length.
        """
        declared = headers.get("content-length", "")
        return declared.isdecimal() and len(declared) < 20 and int(declared) <= self._limit

    async def _body(self, headers: Headers, receive: Receive) -> list[Message] | None:
        """Return the messages of the body, or None if the body is larger than the limit.

        The guard reads a body over the limit to its end, so that the connection stays usable. It
        stops after `_READ_AT_MOST` times the limit.
        """
        most = self._limit * _READ_AT_MOST
        fits = "content-length" not in headers
        messages: list[Message] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                messages.append(message)
                break
            size += len(message.get("body", b""))
            fits = fits and size <= self._limit
            if fits:
                messages.append(message)
            if not message.get("more_body", False) or size > most:
                break
        return messages if fits else None

    def _too_large(self) -> StatusError:
        return status_error(
            Code.INVALID_ARGUMENT,
            f"the body is larger than the limit of {self._limit} bytes; see server.max_body_bytes",
            "BODY_TOO_LARGE",
            metadata={"limit": str(self._limit), "setting": "server.max_body_bytes"},
        )


def _is_open(path: bytes) -> bool:
    """Return whether a page needs no caller, because it holds no data.

    A browser loads the page at `/` without a token, and a person then enters one. A method of a
    backend at the same path asks for its caller, and gets the refusal.
    """
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


def _log(scope: Scope, error: StatusError) -> None:
    """Log why a request has no caller. The text has no part of the credentials."""
    host = _host(scope) or "a client"
    # A client without credentials learns by the refusal where to get some.
    level = logging.DEBUG if error.reason == "CREDENTIALS_MISSING" else logging.WARNING
    # The limit for repeated lines counts by logger.
    logger.getChild(error.reason or "").log(level, "refused %s: %s", host, error.message)


def _host(scope: Scope) -> str:
    """Return the address of a client, or an empty text if it is not known."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _has_body(headers: Headers) -> bool:
    """Return whether a request has a body (RFC 9112, section 6.3)."""
    return "content-length" in headers or "transfer-encoding" in headers


def _replay(messages: list[Message], receive: Receive) -> Receive:
    """Return a function that returns the given messages, then the messages of `receive`."""
    pending = iter(messages)

    async def replay() -> Message:
        message = next(pending, None)
        return await receive() if message is None else message

    return replay
