"""Calls of a backend's five Operations RPCs and of its other methods, with the gateway's types."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

import grpc.aio
from cachetools import LRUCache
from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from lro_gateway.backends.calls import WAIT_OPERATION, Calls
from lro_gateway.backends.channel import OPERATIONS, Endpoint
from lro_gateway.backends.credentials.shown import Shown
from lro_gateway.backends.ended import EndedOperations
from lro_gateway.backends.list_query import ListQuery, ListRules
from lro_gateway.backends.messages import check_payloads
from lro_gateway.backends.recent import RecentOperations, was_recently
from lro_gateway.backends.response import Response
from lro_gateway.backends.status import not_found_yet, unprintable_response
from lro_gateway.background import Slices
from lro_gateway.descriptors.anys import unresolved
from lro_gateway.descriptors.elements import size_of
from lro_gateway.descriptors.message_types import descriptor_of
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import Code, StatusError, quote, status_error
from lro_gateway.log_context import KEEP
from lro_gateway.operations.names import (
    BackendName,
    GatewayName,
    collection_of,
    may_be_same,
    parent_of,
)
from lro_gateway.operations.operation import Operation, OperationPage
from lro_gateway.operations.stall import Stall
from lro_gateway.operations.watch_rules import DEFAULT_RULES, WatchRules
from lro_gateway.principal import Principal

logger: Final = logging.getLogger(__name__)

_GET: Final = f"{OPERATIONS}/GetOperation"
_LIST: Final = f"{OPERATIONS}/ListOperations"
CANCEL_OPERATION: Final = f"{OPERATIONS}/CancelOperation"
DELETE_OPERATION: Final = f"{OPERATIONS}/DeleteOperation"

_MAX_FIRST_SEEN: Final = 4096
"""The maximum number of running operations whose `first_seen` is kept."""
_REFUSALS: Final = frozenset(
    {
        *(Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.UNIMPLEMENTED),
        *(Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED),
    }
)
"""The codes that say for certain that a backend has not deleted an operation."""
_IS_BACK: Final = "backend %s: operation %s was done in an earlier answer, and now is not"
_IS_ANOTHER: Final = "backend %s answered with operation %s, but %s was requested"
_MAX_LOGGED: Final = 300
"""The maximum number of characters of a name in a log line."""
_GRACE: Final = timedelta(seconds=1)
"""How long after its timeout a WaitOperation may still answer."""
_MAX_VIEWS: Final = 1024
"""The maximum number of callers whose view of a backend is kept."""

Observe = Callable[[Operation], Stall | None]
"""Gets a state of an operation, and returns whether the operation has stalled."""

_Response = TypeVar("_Response", bound=Message)


class Backend:
    """A service that implements google.longrunning.Operations.

    Its methods take names in the backend's form, and return names in the gateway's form. They raise
    a `StatusError` for every failed call. No gRPC type leaves this class. Callers share answers
    only if `for_caller` returns a backend with the same `key` for them.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        channel: grpc.aio.Channel,
        registry: TypeRegistry,
        *,
        public_name: Callable[[BackendName], GatewayName],
        public_parent: Callable[[BackendName], GatewayName],
        list_rules: ListRules | None = None,
        watch_rules: WatchRules = DEFAULT_RULES,
    ) -> None:
        self.endpoint = endpoint
        self.key: Hashable = endpoint.name
        self.view = ""
        """A digest of the credentials and headers of a caller that go to the backend, or empty."""
        self.registry = registry
        self.list_rules = list_rules or ListRules()
        self.watch_rules = watch_rules
        self.observe: Observe | None = None
        """Gets each state that the backend answers, if it is set."""
        self._public_name = public_name
        self._public_parent = public_parent
        self._first_seen: LRUCache[str, float] = LRUCache(_MAX_FIRST_SEEN)
        self.recent = RecentOperations(endpoint.name, self.watch_rules)
        self._ended = EndedOperations()
        self.calls = Calls(endpoint, channel, registry)
        self.shown: Shown | None = endpoint.credentials.own if endpoint.credentials else None
        self._views: LRUCache[Hashable, Backend] = LRUCache(_MAX_VIEWS)

    @property
    def name(self) -> str:
        """The backend's name in the configuration."""
        return self.endpoint.name

    @property
    def tells_callers_apart(self) -> bool:
        """Whether the backend may answer differently to each caller."""
        credentials = self.endpoint.credentials
        return credentials is not None and credentials.tell_callers_apart

    def for_caller(self, caller: Principal) -> Backend:
        """Return the view of a caller, which is this object if the backend sees nothing of callers.

        A view has the channel, the slots and the types of this backend, and its own answers.
        """
        credentials = self.endpoint.credentials
        if credentials is None or (of_caller := credentials.key_of(caller)) is None:
            return self
        view = self._views.get(of_caller)
        if view is None:
            view = self._views[of_caller] = copy(self)
            view.separate((self.name, of_caller), credentials.digest_of(caller))
        # The caller may have a newer token now, also for the watches that run.
        view.shown = credentials.of(caller)
        return view

    def separate(self, key: Hashable, view: str) -> None:
        """Become a view, which keeps answers under this key and shares none with another view."""
        self.key = key
        self.view = view
        self._views = LRUCache(1)
        self._first_seen = LRUCache(_MAX_FIRST_SEEN)
        self.recent = self.recent.of_view()
        self._ended = EndedOperations()

    async def _make(
        self,
        rpc: str,
        request: Message,
        response: type[_Response],
        routing: Mapping[str, str],
        deadline: timedelta | None = None,
        *,
        repeats: bool = False,
        drops: bool = False,
    ) -> _Response:
        """Call an RPC as `Calls.make` does. A refused token is not shown again.

        With `repeats` the call is safe to repeat, so it is made once more with a new token.
        """
        deadline = deadline or self.endpoint.deadline
        call = partial(self.calls.make, rpc, request, response, routing, deadline, drops=drops)
        try:
            return await call(self.shown)
        except StatusError as error:
            is_refused = error.code is Code.UNAUTHENTICATED and not error.unsent
            if not (is_refused and self.shown and self.shown.drop() and repeats):
                raise
        return await call(self.shown)

    async def get(self, name: BackendName) -> Operation:
        """Call GetOperation. While an operation is recent, NOT_FOUND gives its last state."""
        request = operations_pb2.GetOperationRequest(name=name)
        try:
            return await self._operation(_GET, request, name, self.endpoint.deadline)
        except StatusError as error:
            if error.code is Code.NOT_FOUND:
                if recalled := await self.recent.recall(name):
                    return recalled
                self._ended.forget(name)
            raise

    async def miss(self, name: BackendName) -> NoReturn:
        """Call GetOperation, and raise the error for a name that the backend does not have.

        An operation of this name is not looked at. Errors other than NOT_FOUND are those of `get`,
        such as that of a deadline.
        """
        request, answer = operations_pb2.GetOperationRequest(name=name), operations_pb2.Operation
        try:
            await self._make(_GET, request, answer, {"name": name}, repeats=True, drops=True)
        except StatusError as error:
            if error.reason != "RESPONSE_TOO_LARGE":
                raise
        # Only an operation that exists can be too large.
        text = f"there is no operation {quote(name)}"
        raise status_error(Code.NOT_FOUND, text, "NO_SUCH_OPERATION", backend=self.name)

    async def told(self, name: BackendName, message: bytes) -> Operation:
        """Return an operation that this backend has answered another process."""
        asked = time.monotonic()
        answer = operations_pb2.Operation.FromString(message)
        return await self._answered(answer, name, asked)

    def sweep(self) -> None:
        """Forget the states of operations that are no longer recent."""
        self.recent.sweep()
        for view in [*self._views.values()]:
            view.sweep()

    def expect(self, name: BackendName, begun: float) -> Operation | None:
        """Note that another process met an operation at `begun`, in seconds since the epoch.

        Return it if it is recent, and if this process has met neither it nor its end.
        """
        if not was_recently(begun) or name in self.recent or name in self._ended:
            return None
        self._first_seen.setdefault(name, begun)
        proto, types = operations_pb2.Operation(name=name), self.registry.types
        return replace(self._wrap(proto, types, time.monotonic()), is_recalled=True)

    async def wait(self, name: BackendName, timeout: timedelta) -> Operation:  # noqa: ASYNC109 - it is the RPC's field
        """Call WaitOperation, which may return an unfinished operation.

        The call fails with DEADLINE_EXCEEDED one second after `timeout`.
        """
        limit = Duration()
        limit.FromTimedelta(timeout)
        request = operations_pb2.WaitOperationRequest(name=name, timeout=limit)
        return await self._operation(WAIT_OPERATION, request, name, timeout + _GRACE)

    async def list(self, query: ListQuery) -> OperationPage:
        """Call ListOperations; the page has the backend's own page token."""
        rules = self.list_rules
        parent = self.listed_parent(query.parent)
        request = operations_pb2.ListOperationsRequest(
            name=collection_of(parent) if rules.collection else parent,
            filter=query.filter,
            page_size=min(query.page_size, rules.max_page_size),
            page_token=query.page_token,
            return_partial_success=query.return_partial_success,
        )
        asked = time.monotonic()
        answer = await self._make(
            _LIST,
            request,
            operations_pb2.ListOperationsResponse,
            {"name": request.name},
            repeats=True,
        )
        types = await self._types_of(answer)
        await check_payloads(answer, types, _LIST, self.endpoint)
        return OperationPage(
            await self._wrap_all(answer.operations, types, asked),
            answer.next_page_token,
            tuple(self._public_parent(BackendName(name)) for name in answer.unreachable),
        )

    def listed_parent(self, name: BackendName) -> BackendName:
        """Return the parent whose operations `list` requests for this `ListQuery.parent`."""
        return BackendName(parent_of(name or self.list_rules.default_parent))

    def public_parent(self, name: BackendName) -> GatewayName:
        """Return the gateway's form of a parent. An empty name, for all operations, stays empty."""
        return self._public_parent(name) if name else GatewayName("")

    async def cancel(self, name: BackendName) -> None:
        """Call CancelOperation, which requests the cancellation and does not wait for it."""
        request = operations_pb2.CancelOperationRequest(name=name)
        try:
            await self._make(CANCEL_OPERATION, request, Empty, {"name": name})
        except StatusError as error:
            raise await self._explained(error, name, CANCEL_OPERATION) from None

    async def delete(self, name: BackendName) -> None:
        """Call DeleteOperation, which deletes the record and does not cancel the operation."""
        request = operations_pb2.DeleteOperationRequest(name=name)
        is_refused = False
        try:
            await self._make(DELETE_OPERATION, request, Empty, {"name": name})
        except StatusError as error:
            explained = await self._explained(error, name, DELETE_OPERATION)
            # What has ended and is not found must not be recalled either.
            is_gone = explained is error and error.code is Code.NOT_FOUND and name in self.recent
            is_refused = not is_gone and (error.unsent or error.code in _REFUSALS)
            raise explained from None
        finally:
            if not is_refused:
                self.recent.forget(name)
                self._ended.forget(name)

    async def _explained(self, error: StatusError, name: BackendName, rpc: str) -> StatusError:
        """Return the error of a call, or another one if the operation has only just begun."""
        recalled = await self.recent.recall(name) if error.code is Code.NOT_FOUND else None
        if recalled is None or recalled.done:
            return error
        return not_found_yet(recalled.name, rpc, self.endpoint)

    async def start(
        self, method: Method, request: Message, routing: Mapping[str, str]
    ) -> Operation:
        """Call a method that returns an Operation; `routing` is sent as a header (AIP-4222).

        Logs the operation's name as soon as it is known. If the look-up of types that follows is
        cancelled, or the gateway ends, the name is in the log.
        """
        answer = await self._make(method.path, request, operations_pb2.Operation, routing)
        name = self._public_name(BackendName(answer.name))
        logger.info("started %s on %s: %s", method.path, self.name, name, extra=KEEP)
        try:
            types = await self._types_of(answer)
        except Exception:
            # The operation has begun, so its caller must get its name, with unreadable payloads.
            logger.exception("the types of operation %s could not be looked up", name)
            types = self.registry.types
        # A backend may give the name of an earlier operation again.
        self._ended.forget(BackendName(answer.name))
        started = self._wrap(answer, types, time.monotonic())
        await started.prepare()
        self.recent.note(started, has_begun=True)
        return started

    async def call(self, method: Method, request: Message, routing: Mapping[str, str]) -> Response:
        """Call a plain method, and return its response."""
        response = self.registry.types.message_class(method.response.full_name)
        if response is None:
            error = unprintable_response(method.path, self.endpoint, "its type is unknown")
            error.unsent = True
            raise error
        answer = await self._make(method.path, request, response, routing)
        types = await self._types_of(answer)
        if types.traits(descriptor_of(answer)).reaches_extensions:
            # The look-up may have found extensions, which are read only if they are known before.
            answer = response.FromString(answer.SerializePartialToString())
        return Response(answer, types, method.path, self.endpoint)

    async def _operation(
        self, rpc: str, request: Message, name: BackendName, deadline: timedelta
    ) -> Operation:
        asked = time.monotonic()
        answer = await self._make(
            rpc, request, operations_pb2.Operation, {"name": name}, deadline, repeats=True
        )
        return await self._answered(answer, name, asked)

    async def _answered(self, answer: Any, name: BackendName, asked: float) -> Operation:
        operation = self._wrap(answer, await self._types_of(answer), asked)
        if not may_be_same(name, operation.backend_name):
            logger.warning(_IS_ANOTHER, self.name, answer.name[:_MAX_LOGGED], name[:_MAX_LOGGED])
            operation = replace(operation, is_another=True)
        await operation.prepare()
        return operation

    async def _types_of(self, answer: Message) -> TypeSet:
        size = size_of(answer)
        return await self.registry.complete(lambda types: unresolved(answer, types), size)

    async def _wrap_all(
        self, protos: Sequence[Any], types: TypeSet, asked: float
    ) -> tuple[Operation, ...]:
        operations = []
        slices = Slices()
        for proto in protos:
            await slices.pause()
            operations.append(self._wrap(proto, types, asked))
        return tuple(operations)

    def _wrap(self, proto: Any, types: TypeSet, asked: float) -> Operation:
        """Return an answered operation; `asked` is the time of the call on the monotonic clock."""
        now = time.time()
        first_seen = now
        if not proto.done:
            first_seen = self._first_seen.setdefault(proto.name, now)
        name = self._public_name(BackendName(proto.name))
        is_back = self._ended.is_back(BackendName(proto.name), done=proto.done, asked=asked)
        if is_back:
            logger.warning(_IS_BACK, self.name, proto.name[:_MAX_LOGGED])
        operation = Operation(
            *(self.name, name, proto, types, now, first_seen, self.watch_rules),
            is_back=is_back,
            view=self.view,
        )
        self.recent.note(operation)
        if self.observe is not None and (stall := self.observe(operation)) is not None:
            operation = replace(operation, stall=stall)
        return operation
