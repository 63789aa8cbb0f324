"""The gRPC service `google.longrunning.Operations`."""

# ruff: noqa: N802 (gRPC calls methods by the names that the .proto gives them)

import math
import re

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.rpc import code_pb2

from lro_gateway.demo import pages
from lro_gateway.demo.interceptors import Context
from lro_gateway.demo.operations import Operations
from lro_gateway.demo.operations_store import OperationsStore
from lro_gateway.demo.refusals import RefusedError, invalid, refused

_PARENT = re.compile(r"(?:(?P<parent>databases/(?:[a-z0-9-]+))(?:/operations)?|operations)?")
_FILTER = re.compile(r"(?P<no>NOT\s+)?done(?:\s*[=:]\s*(?P<value>true|false))?")


class OperationsService:
    """The RPCs that read and change the operations of a server.

    A method refuses a request with `RefusedError`, which an interceptor sends as a status. The
    class has no base class, because the generated base class has no types and no code to inherit.
    """

    def __init__(self, operations: Operations, store: OperationsStore) -> None:
        self._operations = operations
        self._store = store

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, _context: Context
    ) -> operations_pb2.ListOperationsResponse:
        """Return a page of operations, newest first."""
        if request.return_partial_success:
            raise _no_partial_success()
        scope = ("operations", request.name, request.filter)
        size = pages.page_size(request.page_size)
        before = pages.last_before(request.page_token, *scope)
        found = self._store.page(
            parent=_parent(request.name),
            done=_done(request.filter),
            before=int(before) if before else None,
            limit=size + 1,
        )
        page = found[:size]
        more = len(found) > size
        return operations_pb2.ListOperationsResponse(
            operations=[stored.operation for stored in page],
            next_page_token=pages.token_after(str(page[-1].sequence), *scope) if more else "",
        )

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, _context: Context
    ) -> operations_pb2.Operation:
        """Return the latest state of an operation."""
        return self._operations.get(request.name)

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, _context: Context
    ) -> empty_pb2.Empty:
        """Delete the record of an operation; a running operation goes on without a record."""
        self._operations.delete(request.name)
        return empty_pb2.Empty()

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, _context: Context
    ) -> empty_pb2.Empty:
        """Ask an operation to stop after its present batch."""
        self._operations.cancel(request.name)
        return empty_pb2.Empty()

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, context: Context
    ) -> operations_pb2.Operation:
        """Return the state once the operation is done, or when a time limit ends.

        The limits are the timeout of the request and the deadline of the call.
        """
        limits = [_before_deadline(context)]
        if request.HasField("timeout"):
            limits.append(request.timeout.ToTimedelta().total_seconds())
        limit = min(limits)
        if limit < 0:
            raise invalid("timeout", "it is negative", "INVALID_TIMEOUT")
        return await self._operations.wait(request.name, None if math.isinf(limit) else limit)


def _before_deadline(context: Context) -> float:
    """Return the seconds that a call can wait and still answer before its deadline.

    The result is infinity if the call has no deadline.
    """
    # The type is float, but the value is None for a call without a deadline.
    remaining: float | None = context.time_remaining()
    if remaining is None:
        return math.inf
    return max(0.0, remaining - min(0.5, remaining / 4))


def _parent(name: str) -> str | None:
    """Return the database whose operations are requested, or None for all databases."""
    found = _PARENT.fullmatch(name)
    if found is None:
        raise invalid(
            "name",
            f"{name!r} is neither empty nor databases/* nor a collection of operations",
            "INVALID_NAME",
        )
    parent = found["parent"]
    return None if parent == "databases/-" else parent


def _done(text: str) -> bool | None:
    """Return the value of `done` that a filter requires, or None if it accepts all operations."""
    if not text.strip():
        return None
    found = _FILTER.fullmatch(text.strip())
    if found is None:
        raise invalid("filter", f"{text!r} must be done=true or done=false", "INVALID_FILTER")
    return (found["value"] != "false") is (found["no"] is None)


def _no_partial_success() -> RefusedError:
    return refused(
        code_pb2.UNIMPLEMENTED,
        "return_partial_success is not supported, because all operations are in one database",
        "PARTIAL_SUCCESS_UNSUPPORTED",
    )
