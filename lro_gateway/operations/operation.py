"""Operations, pages of operations, and errors, as the gateway reads them from backends."""

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
    """The state of an operation, from its Operation message (AIP-151)."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Operation:
    """A google.longrunning.Operation from a backend's answer.

    `name` is in the gateway's form. `proto` is the message as the backend sent it, and `types` hold
    the types of its Anys. `received` is the time of this answer, and `first_seen` is the time of
    the first answer with this operation, both in seconds since the epoch. `rendering` keeps the
    JSON of this message. Later states share `rendering` as long as the message does not change.
    `is_recalled` is true if the backend does not find the new operation yet. Then this is the last
    state that the gateway has seen.
    """

    backend: str
    name: GatewayName
    proto: Any = field(repr=False)
    types: TypeSet = field(repr=False, compare=False)
    received: float = field(default=0.0, repr=False, compare=False)
    first_seen: float = field(default=0.0, repr=False, compare=False)
    rules: WatchRules = field(default=DEFAULT_RULES, repr=False, compare=False)
    rendering: Rendering = field(default_factory=Rendering, repr=False, compare=False)
    is_recalled: bool = field(default=False, repr=False, compare=False)

    @property
    def backend_name(self) -> BackendName:
        """The operation's name in the backend's form."""
        return BackendName(self.proto.name)

    @property
    def done(self) -> bool:
        """Whether the operation has finished, with success or not."""
        return bool(self.proto.done)

    @property
    def state(self) -> State:
        """The state. A done operation without an error has succeeded, even without a response."""
        if not self.done:
            return State.RUNNING
        if self.proto.WhichOneof("result") != "error":
            return State.SUCCEEDED
        cancelled = self.proto.error.code == Code.CANCELLED
        return State.CANCELLED if cancelled else State.FAILED

    @property
    def error(self) -> status_pb2.Status:
        """The google.rpc.Status of a failed operation. It is empty if there is no failure."""
        return self.proto.error

    @cached_property
    def metadata(self) -> Message | None:
        """The metadata as a message, or None if there is none or its type is unknown."""
        if not self.proto.HasField("metadata"):
            return None
        return unpack(self.proto.metadata, self.types)

    @property
    def progress(self) -> Progress | None:
        """The progress in the metadata, or None if there is none."""
        if self.metadata is None:
            return None
        return progress_of(self.metadata, self.rules.progress_fields)

    @property
    def status_text(self) -> str | None:
        """The status text in the metadata.

        If there is no text, this is the name of the state in the metadata, or None without a state.
        """
        return text_of(self.metadata) if self.metadata is not None else None

    @property
    def create_time(self) -> dt.datetime | None:
        """The start time in the metadata, or None if there is none."""
        return create_time_of(self.metadata) if self.metadata is not None else None

    @property
    def age(self) -> float:
        """Seconds from the operation's start to this state.

        If the metadata has no start time, the age begins at the first answer in which the gateway
        received this operation.
        """
        start = self.create_time
        return max(0.0, self.received - (start.timestamp() if start else self.first_seen))

    @cached_property
    def poll_interval(self) -> int:
        """The whole seconds that a caller should wait before it reads the operation again."""
        return math.ceil(self.rules.cadence.interval(self.age))

    def seen_again(self, later: Operation) -> Operation:
        """Return the later state with the earlier `first_seen` of both states.

        If the message has not changed, the returned state shares this rendering.
        """
        same = self.is_message_of(later) or (
            later.types is self.types and later.proto == self.proto
        )
        rendering = self.rendering if same else later.rendering
        first_seen = min(later.first_seen, self.first_seen)
        if rendering is later.rendering and later.first_seen == first_seen:
            return later
        return replace(later, rendering=rendering, first_seen=first_seen)

    def is_message_of(self, other: Operation) -> bool:
        """Return whether both states share one rendering. If they do, their messages are equal."""
        return self.rendering is other.rendering

    def to_json(self, options: JsonOptions = DEFAULT_OPTIONS) -> JSON:
        """Return the ProtoJSON of the Operation; `name` and `done` are always present.

        Never raises, because an Any that is not readable has a lossless form. All readers share the
        value, so no reader may change it.
        """
        values = self.rendering.values
        if values is None:
            values = self.rendering.values = {}
        known = values.get(options)
        if known is None:
            known = values[options] = self._printed(options)
        return known

    def to_text(self, options: JsonOptions, *, indented: bool) -> JsonText:
        """Return the ProtoJSON of the Operation as text."""
        texts = self.rendering.texts
        if texts is None:
            texts = self.rendering.texts = {}
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
    """One page of operations (AIP-158).

    The last page has an empty `next_page_token`. `unreachable` names the parents or backends whose
    operations are missing (AIP-217).
    """

    operations: tuple[Operation, ...]
    next_page_token: str = ""
    unreachable: tuple[str, ...] = ()

    def to_json(self, options: JsonOptions = DEFAULT_OPTIONS) -> JSON:
        """Return the ProtoJSON of the ListOperationsResponse; `operations` is always present."""
        printed: JSON = {"operations": [op.to_json(options) for op in self.operations]}
        if self.next_page_token:
            printed["nextPageToken"] = self.next_page_token
        if self.unreachable:
            printed["unreachable"] = list(self.unreachable)
        return printed


class BackendStatusError(StatusError):
    """An error that a backend sent, with the types of its details."""

    is_backends = True

    def __init__(self, status: status_pb2.Status, *, backend: str, types: TypeSet) -> None:
        """Take the status as the backend sent it."""
        super().__init__(status, backend=backend)
        self._types = types

    def details_json(self) -> list[JSON]:
        """Return the details as ProtoJSON. A detail that is not readable has the lossless form."""
        return [any_to_json(detail, self._types) for detail in self.status.details]
