"""An operation, and a backend's refusal, as the gateway holds them between its edges."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from google.protobuf.message import Message
from google.rpc import status_pb2

from lro_gateway.descriptors import codec
from lro_gateway.descriptors.registry import TypeSet
from lro_gateway.errors import JSON, Code, StatusError
from lro_gateway.progress import Progress, create_time_of, progress_of, text_of

# What a fair client waits between two looks: (age in seconds below which, seconds to wait).
_CADENCE: Final = ((10.0, 1), (60.0, 5))
_SLOWEST: Final = 30


def poll_interval(age: float) -> int:
    """Return the seconds to wait before the next look at an operation of this age in seconds."""
    return next((seconds for limit, seconds in _CADENCE if age < limit), _SLOWEST)


class State(enum.Enum):
    """What an Operation message says of its operation (AIP-151)."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Operation:
    """A google.longrunning.Operation that a backend answered with.

    `name` is in the gateway's form; `proto` is as the backend sent it; `types` are those that its
    Anys were found in. `received` is when this state came and `met` when the gateway first saw the
    operation, both in seconds since the epoch.
    """

    backend: str
    name: str
    proto: Any = field(repr=False)
    types: TypeSet = field(repr=False, compare=False)
    received: float = field(default=0.0, repr=False, compare=False)
    met: float = field(default=0.0, repr=False, compare=False)

    @property
    def done(self) -> bool:
        """Whether it has finished, in whatever way."""
        return bool(self.proto.done)

    @property
    def state(self) -> State:
        """Running, or how it ended; done with neither error nor response has succeeded."""
        if not self.done:
            return State.RUNNING
        if self.proto.WhichOneof("result") != "error":
            return State.SUCCEEDED
        cancelled = self.proto.error.code == Code.CANCELLED
        return State.CANCELLED if cancelled else State.FAILED

    @property
    def error(self) -> status_pb2.Status:
        """The google.rpc.Status it failed with; empty unless it did."""
        return self.proto.error

    @cached_property
    def metadata(self) -> Message | None:
        """Its metadata as a message, or None if there is none or its type is unknown."""
        if not self.proto.HasField("metadata"):
            return None
        return codec.unpack(self.proto.metadata, self.types)

    @property
    def progress(self) -> Progress | None:
        """How far it is, if its metadata tells."""
        return progress_of(self.metadata) if self.metadata is not None else None

    @property
    def status_text(self) -> str | None:
        """What its metadata says in words, if it does."""
        return text_of(self.metadata) if self.metadata is not None else None

    @property
    def create_time(self) -> dt.datetime | None:
        """When it began, if its metadata tells."""
        return create_time_of(self.metadata) if self.metadata is not None else None

    @property
    def age(self) -> float:
        """Seconds from its beginning, or else from when the gateway met it, to this state."""
        begun = self.create_time
        return max(0.0, self.received - (begun.timestamp() if begun else self.met))

    @property
    def poll_interval(self) -> int:
        """Seconds to wait before the next look at it."""
        return poll_interval(self.age)

    def to_json(self, options: codec.JsonOptions = codec.DEFAULT_OPTIONS) -> JSON:
        """Return the ProtoJSON of the Operation: `name` and `done` always, then what is set.

        Never raises: what cannot be read comes in the lossless form of `codec`.
        """
        printed: JSON = {"name": self.name}
        if self.proto.HasField("metadata"):
            printed["metadata"] = codec.any_to_json(self.proto.metadata, self.types, options)
        printed["done"] = self.done
        result = self.proto.WhichOneof("result")
        if result == "error":
            printed["error"] = codec.to_json(self.proto.error, self.types, options)
        elif result == "response":
            printed["response"] = codec.any_to_json(self.proto.response, self.types, options)
        return printed


@dataclass(frozen=True, slots=True)
class OperationPage:
    """One page of operations; an empty `next_page_token` is the end (AIP-158, AIP-217)."""

    operations: tuple[Operation, ...]
    next_page_token: str = ""
    unreachable: tuple[str, ...] = ()

    def to_json(self, options: codec.JsonOptions = codec.DEFAULT_OPTIONS) -> JSON:
        """Return the ProtoJSON of the ListOperationsResponse; `operations` is always there."""
        printed: JSON = {"operations": [op.to_json(options) for op in self.operations]}
        if self.next_page_token:
            printed["nextPageToken"] = self.next_page_token
        if self.unreachable:
            printed["unreachable"] = list(self.unreachable)
        return printed


class BackendStatusError(StatusError):
    """A failed call in a backend's own words, with the types that its details were found in."""

    def __init__(self, status: status_pb2.Status, *, backend: str, types: TypeSet) -> None:
        """Take the status as the backend sent it."""
        super().__init__(status, backend=backend)
        self._types = types

    def details_json(self) -> list[JSON]:
        """Return the details as ProtoJSON; one that cannot be read comes in the lossless form."""
        return [codec.any_to_json(detail, self._types) for detail in self.status.details]
