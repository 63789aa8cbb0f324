"""Phrases that tell a REST client what to do after a failed call."""

from __future__ import annotations

from typing import Final

from lro_gateway.errors import DOMAIN, StatusError
from lro_gateway.rest.operation_paths import path_of
from lro_gateway.rest.parameters import CONFIRMED_HEADER
from lro_gateway.service.unanswered import UnansweredError
from lro_gateway.service.unshown import UnshownError

_CHOOSE_BACKEND: Final = (
    "choose the backend: pass the parameter backend, or write the name as //{}/NAME"
)
_BY_REASON: Final = {
    "AMBIGUOUS_NAME": _CHOOSE_BACKEND,
    "UNROUTABLE_NAME": _CHOOSE_BACKEND,
    "INVALID_NAME": "if a backend itself gave this name, pass the parameter backend too",
    "RESPONSE_TOO_LARGE": "or request less, for example with a smaller pageSize",
    "BACKEND_DEADLINE_EXCEEDED": "try again later",
    "INVALID_PAGE_TOKEN": "list again without the page token",
    "CONFIRMATION_REQUIRED": (
        f"if a person has agreed to this call, send the header {CONFIRMED_HEADER}: true; or use an"
        " MCP client that supports elicitation, or ask the operator of the gateway to change the"
        " setting `confirm`"
    ),
}
"""The next step for each reason of the gateway's own errors. `{}` stands for a backend's name."""

_WITHOUT_RPC: Final = {
    "ListOperations": "ask for operations by name with GET /v1/NAME",
    "CancelOperation": "it cannot be cancelled here; follow it with GET /v1/NAME",
    "DeleteOperation": "let it expire; it does no harm",
    "WaitOperation": "poll with GET /v1/NAME",
}
"""The next step for each RPC that a backend does not implement."""


def explained(error: StatusError) -> str:
    """Return the message of an error, with the next step.

    If a backend sent details with its error, its message stays as it is, because programs may read
    the error. `advice` is then in a header only.
    """
    if isinstance(error, UnansweredError | UnshownError):
        if error.is_backends and error.status.details:
            return error.message
        message = error.message.rstrip(".; ")
        return f"{message}. {advice(error)}" if message else advice(error)
    step = _next_step(error)
    return f"{error.message}; {step}" if step else error.message


def advice(error: UnansweredError | UnshownError) -> str:
    """Return what a client can do after a call that ended without an answer that it can see."""
    if isinstance(error, UnshownError):
        read = f"Read the operation with GET {path_of(error.operation)}"
        return error.advice(read=read, again="send the request again")
    return error.advice(
        list_first="List the operations with GET /v1/operations", again="send the request again"
    )


def _next_step(error: StatusError) -> str | None:
    """Return the next step, or None if a backend made the error or the reason has no step."""
    info = error.info
    if info is None or info.domain != DOMAIN or error.is_backends:
        return None
    if info.reason == "RPC_UNIMPLEMENTED":
        return _WITHOUT_RPC.get(info.metadata["rpc"].rpartition("/")[2], "use another method")
    step = _BY_REASON.get(info.reason)
    return step.format(info.metadata["backends"].partition(",")[0]) if step else None
