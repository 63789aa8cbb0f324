"""The verbs that change an operation: cancel and delete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lro_gateway.access.policy import Verb
from lro_gateway.backends.backend import CANCEL_OPERATION, DELETE_OPERATION


@dataclass(frozen=True, slots=True)
class Change:
    """A verb that changes an operation. `effect` describes it in a question to a person."""

    verb: Verb
    rpc: str
    effect: str


CANCELLATION: Final = Change(
    Verb.CANCEL,
    CANCEL_OPERATION,
    "It requests the cancellation of operation {}.",
)
DELETION: Final = Change(Verb.DELETE, DELETE_OPERATION, "It deletes the record of operation {}.")
