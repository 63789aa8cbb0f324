"""The handlers that turn every exception of the application into Google's error body."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.access.resource import challenge_of
from lro_gateway.errors import (
    Code,
    StatusError,
    bad_request,
    internal_error,
    quote,
    quoted_text,
    sentence,
    status_error,
    unexpected_error,
)
from lro_gateway.rest.next_steps import advice
from lro_gateway.rest.responses import error_body, json_response
from lro_gateway.rest.suggestions import OWN_PAGES, suggested_path
from lro_gateway.service.unanswered import UnansweredError
from lro_gateway.service.unshown import UnshownError

REQUEST_ID_HEADER: Final = "lro-gateway-request-id"
"""The response header with the request_id of a call, if the caller may need it for a retry."""
NEXT_STEP_HEADER: Final = "lro-gateway-next-step"
"""The response header with the next step after a call that may have begun, or that has."""

REPEAT_HEADER: Final = "idempotency-replayed"
"""The response header of an answer with the operation that an earlier call has started."""

_REASONS: Final = {
    "extra_forbidden": "UNKNOWN_FIELD",
    "json_invalid": "INVALID_JSON",
    "missing": "REQUIRED_FIELD",
}
"""The reason in the ErrorInfo, by the type of pydantic's error."""

_PROBLEMS: Final = {
    "extra_forbidden": "there is no such field",
    "json_invalid": "the body is not JSON",
    "missing": "a value is needed",
    "model_attributes_type": "a JSON object is needed",
}
"""The problem by the type of pydantic's error, where the words of pydantic are of no help."""

_NO_BODY: Final = "the request needs a body, which is a JSON object"
_KEY_REUSED: Final = "IDEMPOTENCY_KEY_REUSED"
_UNPROCESSABLE: Final = 422
_OTHER_REASON: Final = "INVALID_FIELD"
"""The reason for all other types of error, and for a request with errors of several reasons."""


def error_response(
    error: StatusError, *, http_status: int | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return Google's error body: `{"error": {"code", "message", "status", "details"}}`.

    `http_status` replaces the HTTP status of the error's code. Some HTTP statuses, such as 405 and
    413, have no google.rpc.Code. The draft of idempotency keys needs 422. Only a call that the
    gateway has refused to make has `Retry-After`, because a client that obeys it may otherwise
    begin an operation twice.
    """
    is_reused = error.reason == _KEY_REUSED and not error.is_backends
    status = http_status or (_UNPROCESSABLE if is_reused else error.code.http_status)
    if (seconds := _retry_after(error)) is not None:
        headers = {**(headers or {}), "retry-after": seconds}
    added = _next_step_headers(error) if isinstance(error, UnansweredError | UnshownError) else {}
    return json_response(
        error_body(error, status), status=status, headers={**(headers or {}), **added}
    )


def _retry_after(error: StatusError) -> str | None:
    """Return the seconds after which a caller may call again, if its rate has refused the call."""
    if error.reason != "RATE_EXCEEDED" or error.is_backends or error.info is None:
        return None
    seconds: str = error.info.metadata["retryAfter"]
    return seconds.removesuffix("s")


def _next_step_headers(error: UnansweredError | UnshownError) -> dict[str, str]:
    headers = {NEXT_STEP_HEADER: advice(error)}
    if error.request_id:
        headers[REQUEST_ID_HEADER] = error.request_id
    return headers


def unknown_path(request: Request, *, answer: str = "") -> StatusError:
    """Make the error NOT_FOUND for a path that the gateway does not serve.

    `answer` is the error text of a backend that took the path as the name of an operation.
    """
    shown = f"{request.method} {request.url.path}"
    suggestion = suggested_path(request.scope["raw_path"])
    prefix = request.scope.get("root_path", "")
    step = f"did you mean {prefix}{suggestion}?" if suggestion else "/openapi.json lists the routes"
    step = f"the service says: {quoted_text(answer)}; {step}" if answer else step
    return status_error(
        Code.NOT_FOUND,
        f"there is no route for {quote(shown)}; {step}",
        "UNKNOWN_PATH",
        metadata={"method": request.method, "path": quote(request.url.path)},
    )


def not_allowed(allowed: Iterable[str]) -> HTTPException:
    """Make the 405 for an HTTP verb that is not among the allowed verbs of a path."""
    return HTTPException(405, headers={"allow": ", ".join(allowed)})


def invalid_request(error: RequestValidationError) -> StatusError:
    """Make the error for a request that FastAPI has refused. It names every invalid field."""
    problems = [
        (_field(each["loc"]), _problem(each["type"], each["loc"]) or str(each["msg"]))
        for each in error.errors()
    ]
    reasons = {_REASONS.get(each["type"], _OTHER_REASON) for each in error.errors()}
    reason = reasons.pop() if len(reasons) == 1 else _OTHER_REASON
    return status_error(
        Code.INVALID_ARGUMENT,
        "; ".join(sentence(field, problem) for field, problem in problems),
        reason,
        metadata={"field": problems[0][0]} if problems else None,
        details=[bad_request(problems)],
    )


def _problem(kind: str, location: tuple[int | str, ...]) -> str | None:
    """Return our words for a kind of pydantic's error. A body that is missing is no field."""
    is_whole = len(location) == 1
    return _NO_BODY if kind == "missing" and is_whole else _PROBLEMS.get(kind)


def _field(location: tuple[int | str, ...]) -> str:
    """Return the path of a field without its first part, such as `body` or `query`.

    The path is empty if the second part is a number, because that is an offset in malformed JSON.
    """
    parts = location[1:]
    return "" if parts and isinstance(parts[0], int) else ".".join(map(str, parts))


async def _on_status_error(request: Request, error: StatusError) -> Response:
    return error_response(error, headers=challenge_of(request.scope, error))


async def _on_invalid_request(_request: Request, error: RequestValidationError) -> Response:
    return error_response(invalid_request(error))


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    """Return Google's error body for a request that Starlette or FastAPI has refused.

    OPTIONS of a path gets the verbs that a 405 would list (RFC 9110).
    """
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return error_response(unknown_path(request))
        case 405:
            allowed = _allowed(request, headers)
            headers = {"allow": allowed}
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
            refused = status_error(
                Code.UNIMPLEMENTED,
                f"{request.method} is not offered at this path; use {allowed}",
                "METHOD_NOT_ALLOWED",
                metadata={"method": request.method, "allowed": allowed},
            )
        case _:
            refused = status_error(Code.INVALID_ARGUMENT, error.detail, "BAD_REQUEST")
    return error_response(refused, http_status=error.status_code, headers=headers)


def _allowed(request: Request, headers: Mapping[str, str]) -> str:
    """Return the sorted verbs in the header Allow. The gateway's own pages serve HEAD with GET."""
    verbs = set(Headers(headers)["allow"].split(", "))
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    serves_head = "GET" in verbs and path in OWN_PAGES
    return ", ".join(sorted(verbs | {"HEAD"} if serves_head else verbs))


async def _on_exception(_request: Request, _error: Exception) -> Response:
    """Return INTERNAL for a fault of the gateway; only the log has the traceback."""
    return error_response(internal_error())


Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

HANDLERS: Final[dict[int | type[Exception], Handler]] = {
    StatusError: _on_status_error,
    RequestValidationError: _on_invalid_request,
    HTTPException: _on_http_exception,
    Exception: _on_exception,
}
"""The handler of each exception; the application registers exactly these."""


async def answer_to(error: Exception, request: Request) -> Response:
    """Return the answer to a request that ended with an exception. Logs an unexpected one."""
    kind = next(each for each in type(error).__mro__ if each in HANDLERS)
    if kind is Exception:
        return error_response(unexpected_error("the answer to a request", error))
    return await HANDLERS[kind](request, error)
