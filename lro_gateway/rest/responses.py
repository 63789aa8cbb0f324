"""JSON responses: operations with their headers, and Google's error body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lro_gateway.descriptors.http_body import RawBody
from lro_gateway.descriptors.selection import select
from lro_gateway.errors import StatusError, code_name
from lro_gateway.operations.operation import Operation, OperationPage
from lro_gateway.operations.rendering import JsonText
from lro_gateway.operations.summary import summary
from lro_gateway.rest.next_steps import explained
from lro_gateway.rest.parameters import SUMMARY, Presentation

_JSON: Final = "application/json; charset=utf-8"
_ISOLATED: Final = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
}
_IF_NONE_MATCH: Final = "if-none-match"
ARCHIVED_HEADER: Final = "lro-gateway-archived"
"""The time of the gateway's copy, if an answer is from the archive."""
WARNING_HEADER: Final = "lro-gateway-warning"
"""A header, because the JSON of an operation has no field for warnings."""
_IS_BACK: Final = "the backend answered earlier that an operation of this answer was done"
_OMITTED: Final = "the result is missing: it had {} bytes, which was too large for the archive"
_CUT: Final = "the error is not complete: {} bytes of it were too large for the archive"
_IS_ANOTHER: Final = "the backend answered with another operation than the requested one"


def json_response(
    content: Any,
    presentation: Presentation | None = None,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a response with JSON in the form that the caller has chosen."""
    body = _text(content, presentation or Presentation()).content
    return Response(body, status, headers, media_type=_JSON)


def raw_response(body: RawBody) -> Response:
    """Return a response with the bytes of a google.api.HttpBody.

    A backend may store what its users send, such as a page with a script. So a browser does not
    guess another type, and it gives a page no access to the gateway's origin.
    """
    return Response(body.data, headers={"content-type": body.content_type, **_ISOLATED})


class ResourceResponse(JSONResponse):
    """The response of a FastAPI route, with JSON in the form that all other routes return."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Add the charset. `media_type` has none, because FastAPI shows it in the document."""
        super().init_headers({"content-type": _JSON, **(headers or {})})

    def render(self, content: Any) -> bytes:
        """Return the content as indented JSON."""
        return _text(content, Presentation()).content


def _text(content: Any, presentation: Presentation) -> JsonText:
    if presentation.fields:
        content = select(content, presentation.fields)
    return JsonText.of(content, indented=presentation.pretty)


def tagged_response(request: Request, content: Any, presentation: Presentation) -> Response:
    """Return JSON with an ETag, or 304 if `If-None-Match` has the same ETag (RFC 9110)."""
    return _tagged(_text(content, presentation), request.headers.get(_IF_NONE_MATCH))


def text_response(request: Request, body: JsonText) -> Response:
    """Return a finished JSON text with an ETag, or 304 if the caller has the same text."""
    return _tagged(body, request.headers.get(_IF_NONE_MATCH))


async def page_response(
    request: Request, page: OperationPage, presentation: Presentation
) -> Response:
    """Return a response with a page of operations, or 304 if the caller has the same page."""
    content = await page.json(presentation.options)
    if presentation.summary:
        begun = await presentation.beginnings.of(page.operations)
        summed = [
            {**printed, SUMMARY: await summary(each, begun.get((each.backend, each.name)))}
            for printed, each in zip(content["operations"], page.operations, strict=True)
        ]
        content = {**content, "operations": summed}
    body = await page.run(lambda: _text(content, presentation).with_tag())
    return _tagged(body, request.headers.get(_IF_NONE_MATCH), warning_headers(*page.operations))


def warning_headers(*operations: Operation) -> dict[str, str]:
    """Return the headers that an answer needs if something is special about its operations.

    An operation from the archive comes alone, because lists are the backends' own.
    """
    found, headers = set(), {}
    for operation in operations:
        if operation.is_another:
            found.add(_IS_ANOTHER)
        if operation.is_back:
            found.add(_IS_BACK)
        if (archived := operation.archived) is not None:
            headers[ARCHIVED_HEADER] = archived.timestamp
            if archived.omitted:
                is_error = operation.proto.HasField("error")
                found.add((_CUT if is_error else _OMITTED).format(archived.omitted))
    if found:
        headers[WARNING_HEADER] = "; ".join(sorted(found, reverse=True))
    return headers


def _tagged(
    body: JsonText, known: str | None, warning: Mapping[str, str] = MappingProxyType({})
) -> Response:
    tag = f'"{body.tag}"'
    headers = {"etag": tag, "cache-control": "no-cache", **warning}
    if known is not None and _matches(known, tag):
        return Response(status_code=304, headers=headers)
    return Response(body.content, headers=headers, media_type=_JSON)


def _matches(if_none_match: str, tag: str) -> bool:
    candidates = [candidate.strip() for candidate in if_none_match.split(",")]
    # RFC 9110 requires weak comparison for If-None-Match.
    return "*" in candidates or tag in {c.removeprefix("W/") for c in candidates}


async def read_response(
    request: Request, operation: Operation, presentation: Presentation
) -> Response:
    """Return a response with an operation, or 304 if the caller has the same state already."""
    body = await rendered(operation, presentation)
    return _tagged(body, request.headers.get(_IF_NONE_MATCH), warning_headers(operation))


async def operation_response(operation: Operation, presentation: Presentation) -> Response:
    """Return a response with an operation that a call has started or waited for.

    It is never a 304, because the caller would not get the name of the operation that it started.
    The response has no `Retry-After`. gcloud and other clients send the same request again when
    they see that header, even on a 200, and would start the operation twice.
    """
    return _tagged(await rendered(operation, presentation), None, warning_headers(operation))


async def rendered(operation: Operation, presentation: Presentation) -> JsonText:
    """Return an operation's JSON in the form that the caller has chosen."""
    if not presentation.fields and not presentation.summary:
        return await operation.text(presentation.options, indented=presentation.pretty)
    content = await operation.json(presentation.options)
    if presentation.summary:
        begun = await presentation.beginnings.of([operation])
        key = (operation.backend, operation.name)
        content = {**content, SUMMARY: await summary(operation, begun.get(key))}
    return await operation.run(lambda: _text(content, presentation).with_tag())


def shown_by(presentation: Presentation) -> Callable[[Operation], Awaitable[str]]:
    """Return a function that digests what a presentation shows of an operation."""

    async def digest(operation: Operation) -> str:
        return (await rendered(operation, presentation)).tag

    return digest


def error_body(error: StatusError, http_status: int | None = None) -> dict[str, Any]:
    """Return Google's error body as JSON."""
    body: dict[str, Any] = {
        "code": http_status or error.code.http_status,
        "message": explained(error),
        "status": code_name(error.status.code),
    }
    if details := error.details_json():
        body["details"] = details
    return {"error": body}
