"""Calls that a person must agree to before they are made."""

from __future__ import annotations

from typing import Final

from lro_gateway.errors import Code, StatusError, status_error

_MOST_TOLD: Final = 300


class ConfirmationRequiredError(StatusError):
    """A call that nobody has agreed to yet; nothing was done.

    `question` is what to ask the person: it names the backend and the method, and says what will
    be done. A face that can ask does so, and calls again with `confirmed`.
    """

    def __init__(self, cause: StatusError, question: str) -> None:
        super().__init__(cause.status, backend=cause.backend)
        self.question = question


def confirmation_required(backend: str, path: str, does: str) -> ConfirmationRequiredError:
    """Make the error for a call of `pkg.Service/Method`; `does` says what it would do."""
    cause = status_error(
        Code.FAILED_PRECONDITION,
        f"{path} on backend {backend!r} needs a person's agreement, and nobody was asked",
        "CONFIRMATION_REQUIRED",
        metadata={"method": path},
        backend=backend,
    )
    return ConfirmationRequiredError(cause, f"Call {path} on backend {backend}? {does}")


def declined(required: ConfirmationRequiredError) -> StatusError:
    """Make the error for a call that the person did not agree to."""
    return status_error(
        Code.PERMISSION_DENIED,
        "the person was asked and did not agree; nothing was done",
        "CONFIRMATION_DECLINED",
        backend=required.backend,
    )


def told(text: str) -> str:
    """Return a text as a question shows it: one line, printable, cut where it gets long.

    What does not print could show a person something else than what will be done.
    """
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return shown if len(shown) <= _MOST_TOLD else shown[:_MOST_TOLD] + "..."
