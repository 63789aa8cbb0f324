"""Sentences for a model beside the JSON: what a state means, and what to do next."""

from __future__ import annotations

from typing import Final

from lro_gateway.errors import code_name
from lro_gateway.operations.operation import Operation, OperationPage, State
from lro_gateway.service.watch import Sighting

_MAX_MESSAGE: Final = 300
_MAX_REPORT: Final = 200


def describe(operation: Operation) -> str:
    """Say in a sentence or two what an operation's state means and what to do next."""
    match operation.state:
        case State.RUNNING:
            return _running(operation)
        case State.SUCCEEDED:
            return (
                "Done: it succeeded, and response holds the result."
                if _has_response(operation)
                else "Done: it succeeded, without a result."
            )
        case State.CANCELLED:
            return "Done: it was cancelled. Nothing more will happen."
        case State.FAILED:
            error = operation.error
            return (
                f"Done: it failed with {code_name(error.code)}: {_cut(error.message)}"
                " The call itself succeeded; getting it again will not change this."
            )


def _has_response(operation: Operation) -> bool:
    return bool(operation.proto.WhichOneof("result") == "response")


def describe_task(operation: Operation, percent: float | None = None) -> str:
    """Say how an operation stands, to a client that polls its task by itself."""
    if operation.state is State.FAILED:
        return f"{code_name(operation.error.code)}: {_cut(operation.error.message)}"
    return describe(operation) if operation.done else f"{_progress(operation, percent)}."


def describe_sighting(sighting: Sighting) -> str:
    """Say in under 200 characters how an operation stands, to a client that waits for its end."""
    operation = sighting.operation
    if operation.done:
        return _cut(describe_task(operation), _MAX_REPORT)
    state = _progress(operation, sighting.percent)
    return f"{state}. Its backend is out of reach just now." if sighting.outage else f"{state}."


def _progress(operation: Operation, percent: float | None = None) -> str:
    parts = ["Running"]
    if percent is None and (progress := operation.progress):
        percent = progress.percent
    if percent is not None:
        parts.append(f"{percent:.0f}% done")
    if text := operation.status_text:
        parts.append(_cut(text, 120).rstrip("."))
    return ", ".join(parts)


def _running(operation: Operation) -> str:
    state = _progress(operation)
    if not operation.name:
        return f"{state}. It has no name, so it cannot be followed."
    return f"{state}. Call wait_operation, or poll again in {operation.poll_interval} s."


def describe_page(page: OperationPage) -> str:
    """Say how many operations of which state a page has, and how to go on."""
    running = sum(operation.state is State.RUNNING for operation in page.operations)
    total = len(page.operations)
    said = [f"{total} operation{'' if total == 1 else 's'} on this page, {running} running."]
    if page.next_page_token:
        said.append("There are more: call again with pageToken set to nextPageToken.")
    if page.unreachable:
        said.append(f"Not included, because out of reach: {', '.join(page.unreachable)}.")
    return " ".join(said)


def _cut(text: str, limit: int = _MAX_MESSAGE) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= limit else one_line[: limit - 3] + "..."
