"""Confirmation: the calls that the gateway makes only after a person has agreed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from lro_gateway.errors import Code, StatusError, cut, escaped, says, shown_name, status_error
from lro_gateway.service.catalog import Offer

NOT_CALLED: Final = "Not called:"
"""The beginning of the message of a call that the gateway did not make for want of agreement."""
_MAX_LENGTH: Final = 300
"""The maximum length of each text that a question quotes, in characters."""


class ConfirmationRequiredError(StatusError):
    """The gateway refused a call, because no person has agreed to it yet.

    The backend was not called. `question` names the backend and the method, and describes the call.
    A face that can reach a person shows the question. If the person agrees, the face calls again
    with `confirmed`. `note` records what becomes of the question.
    """

    def __init__(self, cause: StatusError, question: str, note: Callable[[str], None]) -> None:
        super().__init__(cause.status, backend=cause.backend)
        self.question = question
        self.note = note


def confirmation_required(
    backend: str, path: str, effect: str, note: Callable[[str], None]
) -> ConfirmationRequiredError:
    """Return the error for a call of `pkg.Service/Method` that no person has agreed to.

    `effect` describes the call in whole sentences, such as "It deletes the record of jobs/1."
    `note` gets the reasons of this error, and of its refusal by a person, for the audit.
    """
    note("CONFIRMATION_REQUIRED")
    cause = status_error(
        Code.FAILED_PRECONDITION,
        f"{NOT_CALLED} no person has agreed to {path} on backend {backend!r}",
        "CONFIRMATION_REQUIRED",
        metadata={"method": path},
        backend=backend,
    )
    return ConfirmationRequiredError(cause, f"Call {path} on backend {backend}? {effect}", note)


def declined(required: ConfirmationRequiredError) -> StatusError:
    """Return the error for a call that the person did not agree to, and note it."""
    required.note("CONFIRMATION_DECLINED")
    return status_error(
        Code.PERMISSION_DENIED,
        f"{NOT_CALLED} the person did not agree",
        "CONFIRMATION_DECLINED",
        backend=required.backend,
    )


def displayed(text: str) -> str:
    """Prepare a text for a question: one line of at most 300 printable characters.

    Characters that show nothing are escaped, because they could hide a part of the call from the
    person.
    """
    return cut(escaped(text[: _MAX_LENGTH + 1]), _MAX_LENGTH)


def displayed_name(name: str) -> str:
    """Prepare a name for a question. A name that could be read as words is in quotes.

    A name could otherwise end its sentence, and go on with a sentence of its own.
    """
    return name if shown_name(name) == name else displayed(json.dumps(name, ensure_ascii=False))


def effect_of(offer: Offer, arguments: Mapping[str, Any]) -> str:
    """Describe a call by the first sentence of the method's comment, and by the arguments."""
    comment = offer.types.comments.of_name(offer.method.full_name).partition(". ")[0].rstrip(".")
    starts = (
        "It starts a long-running operation" if offer.method.is_long_running else "It is called"
    )
    given = displayed(json.dumps(arguments, ensure_ascii=False))
    return " ".join(filter(None, [says(comment), f"{starts} with {given}."]))
