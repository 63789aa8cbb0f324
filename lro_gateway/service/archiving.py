"""Operations that their backends no longer answer, but that the store still knows."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from dataclasses import dataclass
from typing import Final

import orjson
from google.longrunning import operations_pb2

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.router import Router
from lro_gateway.descriptors.anys import unresolved
from lro_gateway.descriptors.printing import DEFAULT_OPTIONS
from lro_gateway.errors import Code, StatusError, shown_name, status_error
from lro_gateway.operations.names import BackendName, GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.rendering import Rendering
from lro_gateway.records.archived import Archive, Copy, Trace
from lro_gateway.records.entries import EntryState, Journal

logger: Final = logging.getLogger(__name__)

_OUT_OF_REACH: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})
"""The codes of a backend that cannot be asked. A finished operation does not change meanwhile."""
_PATIENCE: Final = 1.0
"""Seconds for which the answer to a read waits for what other replicas have learned."""
_LATE: Final = 2.0
"""Seconds within which a replica writes the end that it has read."""
_PAUSE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Archiving:
    """Answers reads that a backend does not, after the policy has allowed them.

    It does nothing if there is no archive. It is not asked as long as backends answer. `is_shared`
    tells whether other replicas use the store.
    """

    router: Router
    archive: Archive | None = None
    journal: Journal | None = None
    is_shared: bool = False

    async def recall(self, backend: Backend, name: BackendName, error: StatusError) -> Operation:
        """Return the archived operation whose read has failed.

        If another replica has just started it, the backend may not find it yet, and it is running.
        Raises the error of the read if nothing is known of the operation. After NOT_FOUND it raises
        another NOT_FOUND, which says what is known, or UNAVAILABLE if the store does not answer.
        """
        is_gone = error.code is Code.NOT_FOUND
        if self.archive is None or not (is_gone or error.code in _OUT_OF_REACH):
            raise error
        canonical = self.router.public_name(backend.name, name)
        await self._catch_up()
        try:
            trace = await self.archive.find(backend.name, canonical, backend.view)
        except StatusError as problem:
            raise (problem if is_gone else error) from None
        if trace is not None and trace.copy is not None:
            return await _restored(backend, canonical, trace.copy, looks_up=is_gone)
        if trace is None or not is_gone or backend.tells_callers_apart:
            # The backend may have the operation, and hide it from this caller.
            raise error
        if trace.finished is None:
            begun = trace.method and backend.expect(name, trace.started.timestamp())
            if begun:
                return begun
            trace = await self._written(backend, canonical) or trace
            if trace.copy is not None:
                return await _restored(backend, canonical, trace.copy, looks_up=True)
            if self.journal is not None and trace.finished is None:
                self.journal.lose(backend.name, canonical, error)
        raise _gone(canonical, trace, backend)

    async def _written(self, backend: Backend, name: GatewayName) -> Trace | None:
        """Return what another replica writes that has just read the end, or None if none does."""
        began = time.monotonic()
        while self.is_shared and self.archive is not None and time.monotonic() < began + _LATE:
            await asyncio.sleep(_PAUSE)
            trace = await self.archive.find(backend.name, name, backend.view)
            if trace is None or trace.finished is not None:
                return trace
        return None

    async def is_gone(self, recalled: Operation) -> bool:
        """Return whether another replica has seen an operation end, or has deleted it.

        If the store does not answer soon, this is not known.
        """
        if self.archive is None or self.journal is None:
            return False
        try:
            async with asyncio.timeout(_PATIENCE):
                trace = await self.archive.find(recalled.backend, recalled.name, recalled.view)
        except (StatusError, TimeoutError):
            return False
        if trace is None:
            return self.journal.has_met(recalled.backend, recalled.name)
        has_ended = trace.finished is not None and trace.state is not EntryState.UNKNOWN
        return has_ended and not recalled.done

    async def cancel(self, backend: Backend, name: BackendName) -> None:
        """Request the cancellation of an operation.

        This has no effect on one that has ended, also if only the archive still has it. Otherwise
        it raises what `recall` does.
        """
        try:
            await backend.cancel(name)
        except StatusError as error:
            await self.recall(backend, name, error)

    async def delete(self, backend: Backend, name: BackendName) -> None:
        """Delete an operation's record at its backend, and then what the store has of it.

        An operation that only the store still has is deleted there.
        """
        canonical = self.router.public_name(backend.name, name)
        if self.archive is None:
            await backend.delete(name)
        else:
            await self._delete(backend, name, canonical, self.archive)
        if self.journal is not None:
            self.journal.forget(backend.name, canonical)

    async def _delete(
        self, backend: Backend, name: BackendName, canonical: GatewayName, archive: Archive
    ) -> None:
        try:
            await backend.delete(name)
        except StatusError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            await self._catch_up()
            trace = await archive.find(backend.name, canonical, backend.view)
            # The backend may have the operation, and hide it from this caller.
            if trace is None or (trace.copy is None and backend.tells_callers_apart):
                raise
        await archive.remove(backend.name, canonical)

    async def _catch_up(self) -> None:
        """Write each end that was read here to the archive, also one that was read just now."""
        if self.journal is not None:
            await self.journal.flush()


async def _restored(
    backend: Backend, name: GatewayName, copy: Copy, *, looks_up: bool
) -> Operation:
    """Return the operation of a copy.

    It keeps the JSON of the copy. Only other forms of JSON need the types of the message.
    """
    proto = operations_pb2.Operation.FromString(copy.message)
    size, types = len(copy.message), backend.registry.types
    if looks_up:
        types = await backend.registry.complete(lambda known: unresolved(proto, known), size)
    rendering = Rendering()
    value = await types.capacity.run(size, lambda: orjson.loads(copy.json))
    rendering.keep_value(DEFAULT_OPTIONS, value)
    at = copy.archived.time.timestamp()
    operation = Operation(
        *(backend.name, name, proto, types, at, at, backend.watch_rules, rendering),
        view=backend.view,
        archived=copy.archived,
    )
    await operation.prepare()
    return operation


def _gone(name: GatewayName, trace: Trace, backend: Backend) -> StatusError:
    """Return the NOT_FOUND of an operation of which only the start and the end are known."""
    shown, started = shown_name(name), _text(trace.started)
    metadata = {"operation": name, "method": trace.method, "state": trace.state.value}
    # A subscription has adopted an operation without a method.
    again = f" with {trace.method}" if trace.method else ""
    if trace.finished is not None and trace.state is not EntryState.UNKNOWN:
        ended = _text(trace.finished)
        return status_error(
            Code.NOT_FOUND,
            f"operation {shown} {_ENDS[trace.state]} at {ended} and has expired: neither the"
            " backend nor the gateway has its answer any longer; to do its work again, start it"
            f" again{again}",
            "OPERATION_EXPIRED",
            metadata=metadata,
            backend=backend.name,
        )
    was = f"started here at {started} by {trace.method}" if again else f"followed from {started} on"
    return status_error(
        Code.NOT_FOUND,
        f"operation {shown} was {was}, and the backend no"
        " longer has it; nobody has read it after its end, so nobody knows how it ended; look at"
        f" what it should have done, and start it again{again} if that is missing",
        "OPERATION_LOST",
        metadata=metadata,
        backend=backend.name,
    )


def _text(time: dt.datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


_ENDS: Final = {
    EntryState.SUCCEEDED: "succeeded",
    EntryState.FAILED: "failed",
    EntryState.CANCELLED: "was cancelled",
}
