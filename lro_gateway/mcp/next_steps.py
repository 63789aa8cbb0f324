"""The next step after a failed call, in the words of MCP: which tool to call, and with what."""

from __future__ import annotations

from typing import Final

from google.rpc.error_details_pb2 import ErrorInfo

from lro_gateway.errors import DOMAIN, Code, StatusError

_BY_CODE: Final = {
    Code.INVALID_ARGUMENT: "Correct the named argument and call again.",
    Code.NOT_FOUND: (
        "The operation may have expired or been deleted, or the name may be wrong:"
        " call list_operations to see which there are. Do not guess names."
    ),
    Code.PERMISSION_DENIED: "Do not retry; ask the person for access.",
    Code.UNAUTHENTICATED: "Do not retry; the gateway's credentials for this backend are at fault.",
    Code.UNAVAILABLE: "The backend is out of reach, not the operation: try again in 5 s.",
    Code.DEADLINE_EXCEEDED: "The backend is slow, and the operation may go on: try again in 5 s.",
    Code.RESOURCE_EXHAUSTED: "Ask for less, or try again later.",
    Code.UNIMPLEMENTED: "This backend cannot do that: do not retry, do what the message says.",
    Code.FAILED_PRECONDITION: "Do not retry before what the message names has changed.",
    Code.ABORTED: "Another change was in the way: look at the state, then try again.",
}
_OTHERWISE: Final = "Tell the person; the backend's logs may say more."

_BY_REASON: Final = {
    "CONFIRMATION_REQUIRED": (
        "Do not retry: tell the person that this call needs their agreement. They can use an MCP"
        " client that can ask (elicitation), or have the operator of the gateway change `confirm`."
    ),
    "CONFIRMATION_DECLINED": "Do not retry: the person has declined this call.",
    "INVALID_PAGE_TOKEN": "Call list_operations again without pageToken.",
    "AMBIGUOUS_NAME": "Say which backend with the argument backend, or with the name //{}/NAME.",
    "UNROUTABLE_NAME": "Say which backend with the argument backend, or with the name //{}/NAME.",
    "METHODS_NOT_KNOWN": ("The backend was never reached, so nothing has begun: try again in 5 s."),
    "GATEWAY_SHUTTING_DOWN": "The gateway stops, the operation goes on: try again in 5 s.",
}
"""By the reason of the gateway's own errors; `{}` stands for a backend's name."""

_INSTEAD: Final = {
    "ListOperations": "Do not retry: ask for operations by name with get_operation.",
    "CancelOperation": ("Do not retry: it cannot be cancelled here; follow it with get_operation."),
    "DeleteOperation": "Do not retry: let it expire; it does no harm.",
    "WaitOperation": "Do not retry: poll with get_operation.",
}
"""By the RPC that a backend does not implement."""

_OF_METHODS: Final = {
    Code.NOT_FOUND: (
        "What the request names does not exist, or not yet: if an operation is still making it,"
        " wait for that one first. Do not guess names."
    ),
    "GATEWAY_SHUTTING_DOWN": (
        "The call may have begun: call list_operations before you call the tool again."
    ),
}
"""By code or by reason, of a call of a backend's own method."""


def next_step(error: StatusError, *, of_method: bool = False) -> str:
    """Return what to do next, by the error's reason if the gateway made it, else by its code.

    `of_method` is for a call of a backend's own method, not of an operation.
    """
    info = error.info
    if info is not None and info.domain == DOMAIN:
        if of_method and info.reason in _OF_METHODS:
            return _OF_METHODS[info.reason]
        if (step := _by_reason(info)) is not None:
            return step
    if of_method and error.code in _OF_METHODS:
        return _OF_METHODS[error.code]
    return _BY_CODE.get(error.code, _OTHERWISE)


def _by_reason(info: ErrorInfo) -> str | None:
    if info.reason == "RPC_UNIMPLEMENTED":
        rpc = info.metadata["rpc"].rpartition("/")[2]
        return _INSTEAD.get(rpc, "Do not retry: use another tool.")
    step = _BY_REASON.get(info.reason)
    return step.format(info.metadata["backends"].partition(",")[0]) if step else None
