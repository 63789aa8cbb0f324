"""Calls that a person must agree to before they are made."""

from __future__ import annotations

from typing import Final

from lro_gateway.errors import Code, StatusError, cut, status_error

_LONGEST: Final = 300
"""The most characters of a text in a question."""


class ConfirmationRequiredError(StatusError):
    """A call that no person has agreed to yet. The backend was not called.

    `question` names the backend and the method, and says what the call does. A face that can ask a
    person asks it, and calls again with `confirmed`.
    """

    def __init__(self, cause: StatusError, question: str) -> None:
        super().__init__(cause.status, backend=cause.backend)
        self.question = question


def confirmation_required(backend: str, path: str, effect: str) -> ConfirmationRequiredError:
    """Make the error for a call of `pkg.Service/Method`; `effect` says what the call does."""
    cause = status_error(
        Code.FAILED_PRECONDITION,
        f"{path} on backend {backend!r} needs a person's agreement, and nobody was asked",
        "CONFIRMATION_REQUIRED",
        metadata={"method": path},
        backend=backend,
    )
    return ConfirmationRequiredError(cause, f"Call {path} on backend {backend}? {effect}")


def declined(required: ConfirmationRequiredError) -> StatusError:
    """Make the error for a call that the person did not agree to."""
    return status_error(
        Code.PERMISSION_DENIED,
        "the person was asked and did not agree; nothing was done",
        "CONFIRMATION_DECLINED",
        backend=required.backend,
    )


def displayed(text: str) -> str:
    """Return a text for a question: one line, printable, cut if it is long.

    A character that does not print could hide what the call does from the person.
    """
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return cut(shown, _LONGEST)
