"""JSON answers: operations with their headers, and Google's error body."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.errors import StatusError, code_name
from lro_gateway.operations.operation import Operation
from lro_gateway.rest.fields import select
from lro_gateway.rest.next_steps import next_step
from lro_gateway.rest.parameters import Presentation

_JSON: Final = "application/json; charset=utf-8"
_INDENTED: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def json_response(
    content: Any,
    presentation: Presentation | None = None,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return JSON as the caller wants it to look."""
    body = _render(content, presentation or Presentation())
    return Response(body, status, headers, media_type=_JSON)


def _render(content: Any, presentation: Presentation) -> bytes:
    if presentation.fields:
        content = select(content, presentation.fields)
    return orjson.dumps(content, option=_INDENTED if presentation.pretty else None)


def tagged_response(
    request: Request,
    content: Any,
    presentation: Presentation,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return JSON with an ETag, or 304 where `If-None-Match` has it (RFC 9110)."""
    return _tagged(request, Body(_render(content, presentation)), headers)


@dataclass(frozen=True)
class Body:
    """The body of an answer."""

    content: bytes

    @cached_property
    def tag(self) -> str:
        """What tells it from others."""
        return hashlib.blake2b(self.content, digest_size=12).hexdigest()


def _tagged(request: Request, body: Body, headers: dict[str, str] | None) -> Response:
    tag = f'"{body.tag}"'
    headers = {**(headers or {}), "etag": tag, "cache-control": "no-cache"}
    known = request.headers.get("if-none-match")
    if known is not None and _matches(known, tag):
        return Response(status_code=304, headers=headers)
    return Response(body.content, headers=headers, media_type=_JSON)


def _matches(if_none_match: str, tag: str) -> bool:
    candidates = [candidate.strip() for candidate in if_none_match.split(",")]
    # Weak comparison, as the RFC has it for If-None-Match.
    return "*" in candidates or tag in {c.removeprefix("W/") for c in candidates}


def operation_response(
    request: Request, operation: Operation, presentation: Presentation
) -> Response:
    """Return an operation; while it runs, `Retry-After` says when to look again."""
    headers = None if operation.done else {"retry-after": str(operation.poll_interval)}
    return _tagged(request, rendered(operation, presentation), headers)


def rendered(operation: Operation, presentation: Presentation) -> Body:
    """Return an operation's JSON as the caller wants it to look; made once for each message."""
    if presentation.fields:
        return Body(_render(operation.to_json(presentation.options), presentation))
    key = (presentation.options, presentation.pretty)
    body: Body | None = operation.memo.get(key)
    if body is None:
        body = Body(_render(operation.to_json(presentation.options), presentation))
        operation.memo[key] = body
    return body


def error_response(
    error: StatusError, *, http_status: int | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return Google's error body: `{"error": {"code", "message", "status", "details"}}`.

    `http_status` is for what HTTP tells apart and google.rpc.Code does not, such as 405 and 413.
    """
    status = http_status or error.code.http_status
    return json_response(error_body(error, status), status=status, headers=headers)


def error_body(error: StatusError, http_status: int | None = None) -> dict[str, Any]:
    """Return Google's error body as JSON."""
    step = next_step(error)
    message = f"{error.message}; {step}" if step else error.message
    body: dict[str, Any] = {
        "code": http_status or error.code.http_status,
        "message": message,
        "status": code_name(error.status.code),
    }
    if details := error.details_json():
        body["details"] = details
    return {"error": body}
