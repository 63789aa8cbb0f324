"""The verbs that change an operation: cancel and delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from lro_gateway.access.policy import Verb
from lro_gateway.backends.backend import CANCEL_OPERATION, DELETE_OPERATION, Backend
from lro_gateway.operations.names import BackendName


@dataclass(frozen=True, slots=True)
class Change:
    """A verb that changes an operation. `effect` describes it in a question to a person."""

    verb: Verb
    rpc: str
    effect: str
    call: Callable[[Backend, BackendName], Awaitable[None]]


CANCELLATION: Final = Change(
    Verb.CANCEL,
    CANCEL_OPERATION,
    "It requests the cancellation of operation {}.",
    Backend.cancel,
)
DELETION: Final = Change(
    Verb.DELETE, DELETE_OPERATION, "It deletes the record of operation {}.", Backend.delete
)
