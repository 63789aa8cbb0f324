"""Sentences for a model, in addition to the JSON. They explain a state and the next step.

A text of a backend stands in quotes in them, after "The service says:", because it may hold words
that look like instructions.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from lro_gateway.descriptors.http_body import RawBody
from lro_gateway.errors import StatusError, code_name, says, shown_name
from lro_gateway.operations import elapsed
from lro_gateway.operations.archived import Archived
from lro_gateway.operations.operation import Operation, OperationPage, State
from lro_gateway.service.approval_handles import is_handle
from lro_gateway.service.watch import Sighting

_SHORT_LOOKS: Final = ', with fields "done,error,response"'
"""The advice to look at an operation by its end alone. The words of each look say how far it is."""
_MAX_MESSAGE: Final = 300
_MAX_STATUS: Final = 120
_MAX_REPORTED: Final = 140
"""The longest error text in a report. Some clients show 200 characters of a report."""
_PAUSES_IN_AGE: Final = 4
"""How many advised pauses fit into the age of an operation, unless another limit applies."""
_LONGEST_PAUSE: Final = 60
_MAX_UNREACHABLE: Final = 10
_MAX_FAILED: Final = 5
_MAX_LISTED: Final = 120
"""The longest error text of an operation in the text of a list."""
_IS_ANOTHER: Final = "Caution: the service answered with another operation than the requested one."
_IS_BACK: Final = "The service answered earlier that it was done, so one of its answers is wrong."


def describe(operation: Operation, *, is_short: bool = False) -> str:
    """Return one or two sentences: the meaning of an operation's state, and the next step.

    Unless the answer `is_short` already, the next step includes how to get a short answer.
    """
    if is_handle(operation):
        return _approval(operation)
    return _flagged(operation, _described(operation, is_short=is_short))


def _approval(operation: Operation) -> str:
    """Return what has become of a call that needs an approval, and the next step."""
    if operation.done:
        return f"Done: {operation.status_text}"
    return (
        f"{operation.status_text} Call wait_operation with this name, which waits for the approval"
        " and then for the operation. Do not call the method again."
    )


def _flagged(operation: Operation, text: str) -> str:
    """Return a text about an operation, after a warning if another operation was requested.

    If the operation is from the archive, the text ends with that.
    """
    if operation.archived is not None:
        text = f"{text} {_archived(operation, operation.archived)}"
    return f"{_IS_ANOTHER} {text}" if operation.is_another else text


def _archived(operation: Operation, archived: Archived) -> str:
    copy = f"This is the gateway's copy of {archived.timestamp}."
    if not archived.omitted:
        return copy
    if operation.proto.HasField("error"):
        return f"{copy} {archived.omitted} bytes of its error were too large to keep."
    return (
        f"{copy} Its result is missing: it had {archived.omitted} bytes, which was too large to"
        " keep. Do not call again for it."
    )


def _described(operation: Operation, *, is_short: bool) -> str:
    match operation.state:
        case State.RUNNING:
            return _running(operation, is_short=is_short)
        case State.SUCCEEDED:
            return (
                "Done: it succeeded, and response holds the result."
                if _has_response(operation)
                else "Done: it succeeded."
                if operation.archived is not None and operation.archived.omitted
                else "Done: it succeeded, without a result."
            )
        case State.CANCELLED:
            return "Done: it was cancelled. Nothing more will happen."
        case State.FAILED:
            return (
                f"Done: it failed with {_failure(operation, _MAX_MESSAGE)} The call itself"
                " succeeded. Another call will return the same error."
            )


def describe_cancelled(operation: Operation | None) -> str:
    """Return the state of an operation after a successful cancel, and the next step.

    `operation` is None if the state is not known.
    """
    if operation is None or not operation.done:
        state = f" {_progress(operation)}" if operation is not None else ""
        return (
            f"Cancellation was requested.{state} The operation may still succeed. Call"
            " wait_operation to see how it ends."
        )
    if operation.state is State.CANCELLED:
        return "Done: the operation is cancelled. Nothing more will happen."
    end = "succeeded" if operation.state is State.SUCCEEDED else "failed"
    return (
        f"The operation was not cancelled, because it is done: it {end}. Call get_operation to read"
        f" its {'result' if end == 'succeeded' else 'error'}."
    )


def _has_response(operation: Operation) -> bool:
    return bool(operation.proto.WhichOneof("result") == "response")


def describe_task(
    operation: Operation,
    percent: float | None = None,
    request_id: str = "",
    *,
    limit: int = _MAX_MESSAGE,
) -> str:
    """Return the state of an operation in one or two sentences for a task, without a next step.

    `percent` replaces the percentage in the operation's metadata. `request_id` is the id that the
    gateway put into the request of a running operation. An error text is cut to `limit` characters.
    Some clients show only this text.
    """
    if is_handle(operation):
        return str(operation.status_text)
    if operation.state is State.FAILED:
        return _flagged(operation, f"Failed with {_failure(operation, limit)}")
    if operation.done:
        return describe(operation)
    filled = f" Its request has the requestId {request_id}." if request_id else ""
    return _flagged(operation, f"{_progress(operation, percent)}{filled}")


def describe_sighting(sighting: Sighting) -> str:
    """Return the state of an operation in about 200 characters, for a client that waits."""
    operation = sighting.operation
    if operation.done:
        return describe_task(operation, limit=_MAX_REPORTED)
    state = _progress(operation, sighting.percent)
    return f"{state} Its backend {sighting.problem} now." if sighting.problem else state


def _failure(operation: Operation, limit: int) -> str:
    error = operation.error
    return " ".join(filter(None, [f"{code_name(error.code)}.", says(error.message, limit)]))


def _progress(operation: Operation, percent: float | None = None) -> str:
    parts = [elapsed.running(operation).capitalize()]
    if percent is None and (progress := operation.progress):
        percent = progress.percent
    if percent is not None:
        parts.append(f"{percent:.0f}% done")
    state = f"{', '.join(parts)}."
    text = says(operation.status_text or "", _MAX_STATUS)
    stall = elapsed.stalled(operation.stall) if operation.stall is not None else ""
    return " ".join(filter(None, [state, stall, _IS_BACK if operation.is_back else "", text]))


def _running(operation: Operation, *, is_short: bool) -> str:
    state = _progress(operation)
    if not operation.name:
        return f"{state} It has no name, so it cannot be followed."
    pause = _pause(operation)
    if is_short or not operation.proto.HasField("metadata"):
        return f"{state} Call wait_operation, or poll again in {pause} s."
    return f"{state} Call wait_operation, or poll again in {pause} s{_SHORT_LOOKS}."


def _pause(operation: Operation) -> int:
    """Return the seconds until the next look. Each look costs a model a turn and an answer."""
    age = operation.age
    interval = operation.rules.cadence.interval(age)
    return math.ceil(max(interval, min(age / _PAUSES_IN_AGE, _LONGEST_PAUSE)))


def describe_body(body: RawBody) -> str:
    """Return a sentence about an HttpBody in an answer."""
    form = "base64" if body.text is None else "text"
    block = "an image" if body.is_image else f"a resource in {form}"
    size = f"{len(body.data)} bytes of type {body.content_type}"
    return f" The answer has {size}, which are embedded as {block}."


def describe_page(page: OperationPage) -> str:
    """Return how many operations a page has in each state, which failed, and how to get more."""
    total = len(page.operations)
    failed = [each for each in page.operations if each.state is State.FAILED]
    numbers = Counter(each.state for each in page.operations)
    counts = ", ".join(f"{numbers[state]} {state.value}" for state in State if numbers[state])
    listed = f"{total} operation{'' if total == 1 else 's'} on this page"
    sentences = [f"{listed}: {counts}." if counts else f"{listed}."]
    for operation in failed[:_MAX_FAILED]:
        name = shown_name(operation.name)
        sentences.append(f"{name} failed with {_failure(operation, _MAX_LISTED)}")
    if len(failed) > _MAX_FAILED:
        sentences.append(f"{len(failed) - _MAX_FAILED} more failed.")
    sentences += _stalled(page)
    if back := sum(operation.is_back for operation in page.operations):
        sentences.append(
            f"The service answered earlier that {back} of the running ones"
            f" {'was' if back == 1 else 'were'} done, so one of its answers is wrong."
        )
    if page.next_page_token and page.searched is not None:
        sentences.append(
            f"The search stopped after {page.searched} operations, and the others are not searched"
            " yet. To go on, call again with pageToken set to nextPageToken."
        )
    elif page.next_page_token:
        sentences.append("There are more. Call again with pageToken set to nextPageToken.")
    if page.unreachable:
        names = [shown_name(name) for name in page.unreachable[:_MAX_UNREACHABLE]]
        if (others := len(page.unreachable) - len(names)) > 0:
            names.append(f"{others} more")
        sentences.append(f"Not included, because they cannot be listed now: {', '.join(names)}.")
    return " ".join(sentences)


def _stalled(page: OperationPage) -> list[str]:
    stalled = [(each.name, each.stall) for each in page.operations if each.stall is not None]
    sentences = [
        f"{shown_name(name)}: {elapsed.stalled(stall)}" for name, stall in stalled[:_MAX_FAILED]
    ]
    if (others := len(stalled) - _MAX_FAILED) > 0:
        sentences.append(f"{others} more have not changed for too long.")
    return sentences


def describe_error(error: StatusError) -> str:
    """Return the message of a failed call as a sentence of the gateway.

    The gateway's own message stays as it is. A backend's message is quoted.
    """
    if not error.is_backends:
        return error.message
    failure = f"The backend answered {code_name(error.status.code)}."
    return " ".join(filter(None, [failure, says(error.message, _MAX_MESSAGE)]))
