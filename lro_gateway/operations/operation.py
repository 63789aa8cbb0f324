"""Operations, pages of operations, and errors, as the gateway reads them from backends."""

from __future__ import annotations

import datetime as dt
import enum
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeVar

import orjson
from google.protobuf.message import Message
from google.rpc import status_pb2

from lro_gateway.descriptors.anys import unpack
from lro_gateway.descriptors.printing import DEFAULT_OPTIONS, JsonOptions, any_to_json, to_json
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import JSON, Code, StatusError
from lro_gateway.operations.archived import Archived
from lro_gateway.operations.names import BackendName, GatewayName
from lro_gateway.operations.progress import Details, Progress
from lro_gateway.operations.rendering import JsonText, Rendering
from lro_gateway.operations.stall import Stall
from lro_gateway.operations.watch_rules import DEFAULT_RULES, WatchRules

_T = TypeVar("_T")

_PARSED_ANY: Final = 64
"""About how many bytes of memory an Any in a message needs."""


class State(enum.Enum):
    """The state of an operation, from its Operation message (AIP-151)."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Operation:
    """A google.longrunning.Operation from a backend's answer.

    `name` is in the gateway's form. `proto` is the message as the backend sent it, and `types` hold
    the types of its Anys. `received` is the time of this answer, and `first_seen` is the time of
    the first answer with this operation, both in seconds since the epoch. `rendering` keeps the
    JSON of this message. Later states share `rendering` as long as the message does not change.
    `is_recalled` is true if the backend does not find the new operation yet. Then this is the last
    state that the gateway has seen. `is_back` is true if the operation was done in an earlier
    answer, and is not done in this one. `is_another` is true if the backend answered with another
    operation than the requested one. `view` is that of the backend's answer (`Backend.view`).
    `archived` is set if this is the gateway's own copy of the finished operation, and `stall` if
    the operation runs and has not changed for too long.
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
    is_back: bool = field(default=False, repr=False, compare=False)
    is_another: bool = field(default=False, repr=False, compare=False)
    view: str = field(default="", repr=False, compare=False)
    archived: Archived | None = field(default=None, repr=False, compare=False)
    stall: Stall | None = field(default=None, repr=False, compare=False)

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

    @property
    def size(self) -> int:
        """The size of the message in bytes of its wire format."""
        size = self.rendering.size
        if size is None:
            size = self.rendering.size = self.proto.ByteSize()
        return size

    @property
    def memory(self) -> int:
        """About how many bytes of memory the message and its JSON need."""
        details = len(self.proto.error.details) if self.proto.HasField("error") else 0
        return 2 * self.size + _PARSED_ANY * details + self.rendering.held

    @property
    def metadata(self) -> Message | None:
        """The metadata as a message, or None if there is none or its type is unknown.

        The message is not kept, because it needs many times the memory of its bytes.
        """
        if not self.proto.HasField("metadata"):
            return None
        return unpack(self.proto.metadata, self.types)

    @property
    def progress(self) -> Progress | None:
        """The progress in the metadata, or None if there is none."""
        return self._details.progress

    @property
    def status_text(self) -> str | None:
        """The status text in the metadata.

        If there is no text, this is the name of the state in the metadata, or None without a state.
        """
        return self._details.status_text

    @property
    def create_time(self) -> dt.datetime | None:
        """The start time in the metadata, or None if there is none."""
        return self._details.create_time

    @property
    def update_time(self) -> dt.datetime | None:
        """The end time or the last update time in the metadata, or None if it has neither."""
        return self._details.update_time

    @property
    def _details(self) -> Details:
        known = self.rendering.details
        if known is None:
            metadata = self.metadata
            known = (
                Details() if metadata is None else Details.of(metadata, self.rules.progress_fields)
            )
            self.rendering.details = known
        return known

    async def prepare(self) -> None:
        """Read the metadata of a large message in the thread, before other code needs it."""
        if self.types.capacity.is_large(self.size) and self.rendering.details is None:
            await self.run(lambda: self._details)

    @property
    def age(self) -> float:
        """Seconds from the operation's start to this state.

        If the metadata has no start time, the age begins at the first answer in which the gateway
        received this operation.
        """
        start = self.create_time
        return max(0.0, self.received - (start.timestamp() if start else self.first_seen))

    @property
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

    async def json(self, options: JsonOptions = DEFAULT_OPTIONS) -> JSON:
        """Return what `to_json` returns; a large message is printed in the thread."""
        if not self.types.capacity.is_large(self.size):
            return self.to_json(options)
        # Only the text of a large message is kept, and to read it again takes little time.
        text = await self.text(options, indented=False)
        value: JSON = await self.run(partial(orjson.loads, text.content))
        return value

    async def text(self, options: JsonOptions, *, indented: bool) -> JsonText:
        """Return what `to_text` returns; a large message is printed in the thread."""
        if (known := self._kept_text(options, indented=indented)) is not None:
            return known
        return await self.run(lambda: self.to_text(options, indented=indented).with_tag())

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return the result of work with the message, in the thread if the message is large."""
        return await self.types.capacity.run(self.size, work)

    def to_json(self, options: JsonOptions = DEFAULT_OPTIONS) -> JSON:
        """Return the ProtoJSON of the Operation; `name` and `done` are always present.

        Never raises, because an Any that is not readable has a lossless form. All readers share the
        value, so no reader may change it. The value of a large message is not kept, because it
        needs many times the memory of its text.
        """
        known = self.rendering.values.get(options) if self.rendering.values else None
        if known is None:
            known = self._printed(options)
            if not self.types.capacity.is_large(self.size):
                self.rendering.keep_value(options, known)
        return known

    def to_text(self, options: JsonOptions, *, indented: bool) -> JsonText:
        """Return the text of `to_json`, which all readers share too."""
        known = self._kept_text(options, indented=indented)
        if known is None:
            known = JsonText.of(self.to_json(options), indented=indented)
            self.rendering.keep_text(options, known, indented=indented)
        return known

    def _kept_text(self, options: JsonOptions, *, indented: bool) -> JsonText | None:
        texts = self.rendering.texts
        return texts.get((options, indented)) if texts else None

    def _printed(self, options: JsonOptions) -> JSON:
        # Both Anys have one budget. The response takes its elements first, because it matters more.
        budget = self.types.capacity.budget(self.size)
        result = self.proto.WhichOneof("result")
        ending: JSON = {}
        if result == "error":
            ending["error"] = to_json(self.proto.error, self.types, options, budget)
        elif result == "response":
            ending["response"] = any_to_json(self.proto.response, self.types, options, budget)
        printed: JSON = {"name": self.name}
        if self.proto.HasField("metadata"):
            printed["metadata"] = any_to_json(self.proto.metadata, self.types, options, budget)
        return {**printed, "done": self.done, **ending}


@dataclass(frozen=True, slots=True)
class OperationPage:
    """One page of operations (AIP-158).

    The last page has an empty `next_page_token`. `unreachable` names the parents or backends whose
    operations are missing (AIP-217). `searched` is the number of operations that were read to find
    these, or None if these are all that were read.
    """

    operations: tuple[Operation, ...]
    next_page_token: str = ""
    unreachable: tuple[str, ...] = ()
    searched: int | None = None

    async def json(self, options: JsonOptions = DEFAULT_OPTIONS) -> JSON:
        """Return what `to_json` returns; many operations are printed in the backend's thread."""
        printed: list[JSON] = []
        for _, group in groupby(self.operations, lambda operation: operation.backend):
            operations = tuple(group)
            print_all = partial(_printed, operations, options)
            size = sum(each.size for each in operations)
            printed += await operations[0].types.capacity.run(size, print_all)
        return self._around(printed)

    def to_json(self, options: JsonOptions = DEFAULT_OPTIONS) -> JSON:
        """Return the ProtoJSON of the ListOperationsResponse; `operations` is always present."""
        return self._around(_printed(self.operations, options))

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return the result of work with the page, in a thread if the page is large."""
        if not self.operations:
            return work()
        return await self.operations[0].types.capacity.run(self.size, work)

    @property
    def size(self) -> int:
        """The size of the operations in bytes of their wire format."""
        return sum(each.size for each in self.operations)

    def _around(self, operations: list[JSON]) -> JSON:
        printed: JSON = {"operations": operations}
        if self.next_page_token:
            printed["nextPageToken"] = self.next_page_token
        if self.unreachable:
            printed["unreachable"] = list(self.unreachable)
        return printed


def _printed(operations: Iterable[Operation], options: JsonOptions) -> list[JSON]:
    return [each.to_json(options) for each in operations]


class BackendStatusError(StatusError):
    """An error that a backend sent, with the types of its details."""

    is_backends = True

    def __init__(self, status: status_pb2.Status, *, backend: str, types: TypeSet) -> None:
        """Take the status as the backend sent it."""
        super().__init__(status, backend=backend)
        self._types = types
        self._printed: list[JSON] | None = None

    def details_json(self) -> list[JSON]:
        """Return the details as ProtoJSON. A detail that is not readable has the lossless form.

        They are printed once.
        """
        if self._printed is None:
            budget = self._types.capacity.budget(self.status.ByteSize())
            self._printed = [
                any_to_json(detail, self._types, budget=budget) for detail in self.status.details
            ]
        return self._printed
