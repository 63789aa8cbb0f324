"""Sentences that tell a model what to do after a failed call."""

from __future__ import annotations

from typing import Final

from google.rpc.error_details_pb2 import ErrorInfo

from lro_gateway.errors import DOMAIN, Code, StatusError
from lro_gateway.service.unanswered import UnansweredError
from lro_gateway.service.unshown import UnshownError

_BY_CODE: Final = {
    Code.INVALID_ARGUMENT: "Correct the argument that the message names, then call again.",
    Code.NOT_FOUND: (
        "The operation may have expired or been deleted, or the name may be wrong."
        " Call list_operations to see which operations exist. Do not guess names."
    ),
    Code.PERMISSION_DENIED: "Do not retry. Inform the person that this call needs more access.",
    Code.UNAUTHENTICATED: (
        "Do not retry. The backend did not accept the gateway's credentials. The operator of the"
        " gateway must correct them."
    ),
    Code.UNAVAILABLE: (
        "The backend cannot be reached, but the operation may still be running. Try again in 5 s."
    ),
    Code.DEADLINE_EXCEEDED: (
        "The backend did not answer in time, but the operation may still be running. Try again in"
        " 5 s."
    ),
    Code.RESOURCE_EXHAUSTED: "Try again later. The backend may limit how often it is called.",
    Code.UNIMPLEMENTED: (
        "Do not retry. The backend does not offer this call. If the message has advice, follow it."
    ),
    Code.FAILED_PRECONDITION: "Do not retry until the condition that the message names is met.",
    Code.ABORTED: (
        "Another change happened at the same time. It may be an earlier call of your own, for"
        " example one that timed out. If the message names an operation, wait for it. Otherwise"
        " read the current state, then try again only if it is needed."
    ),
}
_WRONG_NAME: Final = (
    "Correct the argument that the message names, then call again. Pass a name exactly as a tool"
    " returned it. Call list_operations to see which operations exist."
)
_NAME_A_PARENT: Final = (
    "The backend may not list the operations of all parents. Pass a parent as name, such as"
    " projects/p. The operator of the gateway can set default_parent of this backend."
)
_OTHERWISE: Final = "Report the error to the person. The backend's logs may explain it."

_CHOOSE_BACKEND: Final = (
    "Choose the backend: pass the argument backend, or write the name as //{}/NAME."
)
_CORRECT_TLS: Final = (
    "Try again once in 5 s. If the error is the same, inform the person that the operator of the"
    " gateway must correct the setting that the message names."
)
_BY_REASON: Final = {
    "CONFIRMATION_REQUIRED": (
        "Not called: no person has agreed. Do not retry. Inform the person that this call needs a"
        " person's agreement. The person can"
        " use an MCP client that supports elicitation, or the operator of the gateway can change"
        " the setting `confirm`."
    ),
    "CONFIRMATION_DECLINED": "Not called: the person has declined this call. Do not retry.",
    "IDEMPOTENCY_KEY_IN_USE": (
        "Call again in 5 s with the same arguments and the same idempotency_key. Nothing starts"
        " twice by that."
    ),
    "IDEMPOTENCY_KEY_REUSED": "Call again with a new idempotency_key.",
    "IDEMPOTENCY_KEY_UNSUPPORTED": "Not called. Call again without idempotency_key.",
    "IDEMPOTENT_OPERATION_GONE": (
        "Do not retry with this idempotency_key. To start another operation, call with a new one."
    ),
    "START_OUTCOME_UNKNOWN": (
        "Call list_operations. Only if the operation is not there, call this tool again with a new"
        " idempotency_key."
    ),
    "INVALID_NAME": (
        "Correct the name, then call again. If a backend itself gave this name, pass the argument"
        " backend too."
    ),
    "RESPONSE_TOO_LARGE": (
        "Do not retry: the answer would be as large again. The operator of the gateway can raise"
        " the setting that the message names."
    ),
    "METADATA_TOO_LARGE": (
        "Do not retry. The operator of the gateway must raise the setting that the message names."
    ),
    "TOO_MANY_CALLS": "The gateway has not sent the call. Try again in 5 s.",
    "TOO_MANY_WATCHES": "End a wait or a subscription, or try again in 30 s.",
    "CALL_BROKEN": "Read the current state, then try again in 5 s.",
    "INVALID_PAGE_TOKEN": "Call list_operations again without pageToken.",
    "AMBIGUOUS_NAME": _CHOOSE_BACKEND,
    "UNROUTABLE_NAME": _CHOOSE_BACKEND,
    "METHODS_NOT_KNOWN": (
        "The gateway does not know the backend's methods yet, so the call started nothing. Try"
        " again in 5 s."
    ),
    "UNKNOWN_METHOD": "Call search_methods to find the method, then call again with its name.",
    "SEARCH_NOT_AVAILABLE": "Call search_methods without query. It then lists all methods by name.",
    "OPERATION_EXPIRED": (
        "Do not retry: nobody has the answer any longer. If it is still needed, call the tool of"
        " the method that the message names again."
    ),
    "OPERATION_LOST": (
        "Do not retry. Look at what the operation should have made. Only if that is missing, call"
        " the tool of the method that the message names again."
    ),
    "OPERATION_NOT_FOUND_YET": "The operation is running. Call again in 5 s.",
    "GATEWAY_SHUTTING_DOWN": (
        "The gateway is shutting down, but the operation continues. Try again in 5 s."
    ),
}
"""The next step for each reason of the gateway's own errors. `{}` stands for a backend's name."""

_WITHOUT_RPC: Final = {
    "ListOperations": "Do not retry: ask for operations by name with get_operation.",
    "CancelOperation": "Do not retry: it cannot be cancelled here; follow it with get_operation.",
    "DeleteOperation": "Do not retry: let it expire; it does no harm.",
    "WaitOperation": "Do not retry: poll with get_operation.",
}
"""The next step for each RPC that a backend does not implement."""

_SMALLER_PAGE: Final = (
    "Call again with a smaller pageSize. The operator of the gateway can also raise the setting"
    " that the message names."
)

_FOR_METHODS: Final = {
    Code.NOT_FOUND: (
        "A resource that the request names does not exist, or does not exist yet. If an operation"
        " is still creating it, wait for that operation first. Do not guess names."
    ),
    Code.ALREADY_EXISTS: (
        "It exists, perhaps because an earlier call of yours has created it. Look at it, or list"
        " the operations, before you choose another name."
    ),
    Code.UNAVAILABLE: "The backend cannot be reached. Try again in 5 s.",
    Code.DEADLINE_EXCEEDED: "The backend did not answer in time. Try again in 5 s.",
    "GATEWAY_SHUTTING_DOWN": "The gateway is shutting down. Try again in 5 s.",
    "RESPONSE_TOO_LARGE": (
        "Request less data, for example with a smaller pageSize. The operator of the gateway can"
        " also raise the setting that the message names."
    ),
}
"""The next step for a failed call of a backend's own method, by code or by reason."""


def next_step(error: StatusError, *, of_method: bool = False, lists_all: bool = False) -> str:
    """Return the next step after a failed call.

    If the gateway made the error, the error's reason selects the step. If that reason has no step,
    or if a backend made the error, the error's code selects the step. `of_method` is True if the
    call was to a backend's own method. `lists_all` is True if it was a list without a parent.
    """
    if not of_method and error.is_backends and error.code is Code.INVALID_ARGUMENT:
        return _NAME_A_PARENT if lists_all else _WRONG_NAME
    if isinstance(error, UnansweredError):
        return error.advice(list_first="Call list_operations", again="call this tool again")
    if isinstance(error, UnshownError):
        read = "Follow the operation with get_operation"
        return error.advice(read=read, again="call this tool again")
    info = error.info
    if info is not None and info.domain == DOMAIN and not error.is_backends:
        if of_method and info.reason in _FOR_METHODS:
            return _FOR_METHODS[info.reason]
        if (step := _by_reason(info)) is not None:
            return step
    return _by_code(error.code, of_method=of_method)


def _by_code(code: Code, *, of_method: bool) -> str:
    if of_method and code in _FOR_METHODS:
        return _FOR_METHODS[code]
    return _BY_CODE.get(code, _OTHERWISE)


def _by_reason(info: ErrorInfo) -> str | None:
    if info.reason == "RPC_UNIMPLEMENTED":
        rpc = info.metadata["rpc"].rpartition("/")[2]
        return _WITHOUT_RPC.get(rpc, "Do not retry: use another tool.")
    if info.reason == "RESPONSE_TOO_LARGE" and info.metadata["rpc"].endswith("/ListOperations"):
        return _SMALLER_PAGE
    if info.reason == "BACKEND_UNAVAILABLE" and info.metadata["setting"].startswith("tls"):
        return _CORRECT_TLS
    if info.reason == "RATE_EXCEEDED":
        return f"The gateway has not made the call. Call again in {info.metadata['retryAfter']}."
    step = _BY_REASON.get(info.reason)
    return step.format(info.metadata["backends"].partition(",")[0]) if step else None
