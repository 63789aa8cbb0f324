"""The error of a method's call that ended without an answer, so that it may have begun."""

from __future__ import annotations

import re
from typing import Final

from google.rpc import error_details_pb2, status_pb2

from lro_gateway.errors import JSON, Code, StatusError
from lro_gateway.operations.operation import BackendStatusError

_NO_ANSWER: Final = frozenset(
    {
        *(Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED),
        *(Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS),
    }
)
"""The codes of failures in which a backend, or a proxy before it, may have begun the work.

With any other code the backend states that it refused the call.
"""

_SIMPLE: Final = re.compile(r"[!-~]{1,128}\Z")
"""Matches a request_id that fits in a header and in a sentence. Every UUID does."""


class UnansweredError(StatusError):
    """A call of a method ended without an answer. It has the status of the error that ended it.

    `may_have_begun` is false if the backend certainly did not receive the call. `request_id` is the
    id in the request. It is empty if the request has none, or if the id is too long or not
    printable. `argument` is the JSON name of its field. `recognized` is true if the backend
    recognizes a repeated call by this id. `is_long_running` is true if the method starts an
    operation. `is_backends` is true if the backend, or a proxy before it, made the error. `has_key`
    is true if the caller gave an idempotency key, which the store keeps.
    """

    def __init__(
        self,
        cause: StatusError,
        *,
        may_have_begun: bool,
        request_id: str,
        argument: str,
        recognized: bool,
        is_long_running: bool,
        has_key: bool = False,
    ) -> None:
        request_id = request_id if _SIMPLE.match(request_id) else ""
        self.is_backends = cause.is_backends
        status = cause.status if self.is_backends else _with_request_id(cause.status, request_id)
        super().__init__(status, backend=cause.backend)
        self.may_have_begun = may_have_begun
        self.request_id = request_id
        self.argument = argument
        self.recognized = recognized
        self.is_long_running = is_long_running
        self.has_key = has_key
        self._cause = cause

    def advice(self, *, list_first: str, again: str) -> str:
        """Return what may have happened, and how to call again without a second start.

        `list_first` says how to list operations, such as "Call list_operations". `again` says how
        to repeat the call, such as "call this tool again".
        """
        same = f" with {self.argument} {self.request_id}" if self.request_id else ""
        if not self.may_have_begun:
            return (
                "The backend did not receive the call, so nothing has begun. In 5 s,"
                f" {again}{same}."
            )
        if self.is_long_running:
            began, look = "The operation may have begun", list_first
            effect, missing = "starts no second operation", "the operation"
        else:
            began, look = "The call may have taken effect", "Read the current state"
            effect, missing = "has no further effect", "its effect"
        if self.reason == "RESPONSE_TOO_LARGE":
            return f"{began}. {look}. Do not repeat the call: its answer would be as large."
        if self.has_key and self.recognized:
            return f"{began}. {again.capitalize()} with the same idempotency key, which {effect}."
        if self.has_key:
            return (
                f"{began}. {look} first, and {again} with a new key only if {missing} is not there."
            )
        if same and self.recognized:
            return f"{began}. {again.capitalize()}{same}, which {effect}."
        return f"{began}. {look} first, and {again}{same} only if {missing} is not there."

    def details_json(self) -> list[JSON]:
        """Return the details as ProtoJSON. A backend's error has its own types."""
        return self._cause.details_json() if self.is_backends else super().details_json()


def has_no_answer(error: StatusError) -> bool:
    """Return whether an error means that the backend has not stated the outcome of the call.

    The gateway itself makes RESOURCE_EXHAUSTED only if an answer is too large for it, or if it did
    not send the call. A call that a server or a proxy has reset may have any code.
    """
    if error.code in _NO_ANSWER:
        return True
    if isinstance(error, BackendStatusError):
        return False
    return error.code is Code.RESOURCE_EXHAUSTED or error.reason == "CALL_BROKEN"


def _with_request_id(status: status_pb2.Status, request_id: str) -> status_pb2.Status:
    """Return the status of an error of the gateway, whose ErrorInfo then has the request_id."""
    if not request_id:
        return status
    added = status_pb2.Status()
    added.CopyFrom(status)
    # The first detail of each error that the gateway makes is an ErrorInfo.
    info = error_details_pb2.ErrorInfo.FromString(added.details[0].value)
    info.metadata["request_id"] = request_id
    added.details[0].Pack(info)
    return added
