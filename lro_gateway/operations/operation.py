"""An operation, and a backend's refusal, as the gateway holds them between its edges."""

from __future__ import annotations

import datetime as dt
import enum
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from google.protobuf.message import Message
from google.rpc import status_pb2

from lro_gateway.descriptors.anys import unpack
from lro_gateway.descriptors.printing import DEFAULT_OPTIONS, JsonOptions, any_to_json, to_json
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import JSON, Code, StatusError
from lro_gateway.operations.names import BackendName, GatewayName
from lro_gateway.operations.progress import Progress, create_time_of, progress_of, text_of
from lro_gateway.operations.rendering import JsonText, Rendering
from lro_gateway.operations.watch_rules import DEFAULT_RULES, WatchRules


class State(enum.Enum):
    """What an Operation message says of its operation (AIP-151)."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Operation:
    """A google.longrunning.Operation that a backend answered with.

    `name` is in the gateway's form. `proto` is the message as the backend sent it, and `types` are
    the types of its Anys. `received` is when this state came, and `met` is when the gateway first
    saw the operation, both in seconds since the epoch. `rendering` keeps the JSON of this message.
    A later state that is the same message shares it.
    """

    backend: str
    name: GatewayName
    proto: Any = field(repr=False)
    types: TypeSet = field(repr=False, compare=False)
    received: float = field(default=0.0, repr=False, compare=False)
    met: float = field(default=0.0, repr=False, compare=False)
    rules: WatchRules = field(default=DEFAULT_RULES, repr=False, compare=False)
    rendering: Rendering = field(default_factory=Rendering, repr=False, compare=False)

    @property
    def backend_name(self) -> BackendName:
        """Its name in the form that its backend uses."""
        return BackendName(self.proto.name)

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
        return unpack(self.proto.metadata, self.types)

    @property
    def progress(self) -> Progress | None:
        """How far it is, if its metadata tells."""
        if self.metadata is None:
            return None
        return progress_of(self.metadata, self.rules.progress_fields)

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

    @cached_property
    def poll_interval(self) -> int:
        """Whole seconds that a caller should wait before the next look at it."""
        return math.ceil(self.rules.cadence.interval(self.age))

    def seen_again(self, later: Operation) -> Operation:
        """Return a later state with the earlier `met`, and this rendering if it still holds."""
        same = self.is_message_of(later) or (
            later.types is self.types and later.proto == self.proto
        )
        rendering = self.rendering if same else later.rendering
        if rendering is later.rendering and later.met <= self.met:
            return later
        return replace(later, rendering=rendering, met=min(later.met, self.met))

    def is_message_of(self, other: Operation) -> bool:
        """Tell whether another state is known to be the same message."""
        return self.rendering is other.rendering

    def to_json(self, options: JsonOptions = DEFAULT_OPTIONS) -> JSON:
        """Return the ProtoJSON of the Operation: `name` and `done` always, then the fields set.

        Never raises, because an Any that cannot be read has a lossless form in `printing`. The
        value is shared by all readers and must not be changed.
        """
        values = self.rendering.values
        known = values.get(options)
        if known is None:
            known = values[options] = self._printed(options)
        return known

    def to_text(self, options: JsonOptions, *, indented: bool) -> JsonText:
        """Return the same as text."""
        texts = self.rendering.texts
        known = texts.get((options, indented))
        if known is None:
            text = JsonText.of(self.to_json(options), indented=indented)
            known = texts[options, indented] = text
        return known

    def _printed(self, options: JsonOptions) -> JSON:
        printed: JSON = {"name": self.name}
        if self.proto.HasField("metadata"):
            printed["metadata"] = any_to_json(self.proto.metadata, self.types, options)
        printed["done"] = self.done
        result = self.proto.WhichOneof("result")
        if result == "error":
            printed["error"] = to_json(self.proto.error, self.types, options)
        elif result == "response":
            printed["response"] = any_to_json(self.proto.response, self.types, options)
        return printed


@dataclass(frozen=True, slots=True)
class OperationPage:
    """One page of operations; an empty `next_page_token` is the end (AIP-158, AIP-217)."""

    operations: tuple[Operation, ...]
    next_page_token: str = ""
    unreachable: tuple[str, ...] = ()

    def to_json(self, options: JsonOptions = DEFAULT_OPTIONS) -> JSON:
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
        return [any_to_json(detail, self._types) for detail in self.status.details]
