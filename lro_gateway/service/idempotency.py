"""Idempotency keys: a start that repeats an earlier one gets the operation of the earlier one.

The semantics are those of draft-ietf-httpapi-idempotency-key-header. The store has the keys.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from google.longrunning import operations_pb2

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.router import Router
from lro_gateway.background import race
from lro_gateway.errors import Code, StatusError, invalid_argument, shown_name, status_error
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.records.entries import Earlier, Entry, EntryState, Journal, Key
from lro_gateway.service.approval_handles import name_of
from lro_gateway.service.journaling import KeyClaimedError, digest_of, under_way
from lro_gateway.service.preparing import Prepared
from lro_gateway.service.shutdown import Shutdown, shutting_down
from lro_gateway.service.starting import Started, Starts
from lro_gateway.service.verb_requests import NameRequest, StartRequest

Begin = Callable[[Prepared], Awaitable[Started]]
"""Begins a call, and claims its idempotency key."""
Read = Callable[[Principal, NameRequest], Awaitable[Operation]]
"""Returns the present state of an operation, if the caller may read it."""

FIELD: Final = "idempotency_key"
"""The name of the key in errors, and in the `_meta` of a call over MCP."""
_LONGEST: Final = 255
"""The maximum length of a key in characters."""
_VALID: Final = re.compile(rf"[ -~]{{1,{_LONGEST}}}\Z")
_NOT_ASCII: Final = "it has a character that is not printable ASCII"
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Seconds between two looks at a call that another process makes."""
_READ_LIMIT: Final = 2.0
"""Seconds that the read of the operation may take. Its name alone answers the call too."""


class Idempotency:
    """Starts operations with keys, each of them at most once."""

    def __init__(
        self,
        journal: Journal | None,
        starts: Starts,
        shutdown: Shutdown,
        router: Router,
        *,
        window: timedelta,
        patience: timedelta,
    ) -> None:
        """Set how long a key is kept, and how long a call waits for another with its key."""
        self._journal = journal
        self._starts = starts
        self._shutdown = shutdown
        self._router = router
        self._window = window
        self._patience = patience.total_seconds()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def keyed(
        self, caller: Principal, backend: Backend, prepared: Prepared, request: StartRequest
    ) -> Prepared:
        """Return a request with its key, if it has one. A call that only reads needs none.

        Raises INVALID_ARGUMENT if the key is malformed, or if the method changes something and
        neither starts an operation nor needs an approval, and FAILED_PRECONDITION if the gateway
        has no store.
        """
        key = request.idempotency_key
        if key is None:
            return prepared
        if not _VALID.match(key):
            raise malformed_key(_problem(key))
        method = prepared.method
        if not (method.is_long_running or prepared.rules.needs_approval(method.path)):
            if request.offer.hints.reads:
                return prepared
            raise _unsupported(method.path)
        if self._journal is None:
            raise _no_store()
        # A library may choose another request_id for each call, which then is no other request.
        is_free = prepared.rules.recognizes_repeats(method)
        request_id = prepared.sent_id if is_free else prepared.request_id
        first_name = self._router.first_name(backend.name)
        content = f"{first_name}\0{digest_of(method, prepared.request, request_id)}"
        given = Key(
            _sha256(json.dumps([*caller.identity, key])),
            _sha256(content),
            prepared.sent_id,
            self._window,
        )
        return replace(prepared, key=given)

    async def is_repeat(self, prepared: Prepared) -> bool:
        """Return whether an earlier start has the key, to which a person may have agreed.

        Raises INVALID_ARGUMENT if the key stands for another request.
        """
        if self._journal is None or prepared.key is None:
            return False
        earlier = await self._journal.earlier(prepared.key)
        if earlier is None:
            return False
        _check_same(prepared.key, earlier)
        return True

    async def start(
        self, caller: Principal, backend: Backend, prepared: Prepared, read: Read
    ) -> Started:
        """Start an operation, or return the operation that an earlier start with the key began.

        Waits while the earlier start is under way. If its outcome is unknown, and if the backend
        recognizes a repeat by its request_id, the call is sent again with the same request_id.
        Raises INVALID_ARGUMENT if the key stands for another request, ABORTED if the earlier start
        is under way for too long, and UNKNOWN if nobody can know what the earlier start has begun.
        """
        return await self.once(
            caller, backend, prepared, read, partial(self._starts.start, caller, backend)
        )

    async def once(
        self, caller: Principal, backend: Backend, prepared: Prepared, read: Read, begin: Begin
    ) -> Started:
        """Begin a call, or return what an earlier call with the key has begun.

        `begin` claims the key, and raises `KeyClaimedError` if it is not free. A call that waited
        for an approval is returned as its handle, or as the operation that it has started.
        """
        if prepared.key is None:
            return await begin(prepared)
        ends = time.monotonic() + self._patience
        while True:
            try:
                async with self._turn(prepared.key, ends):
                    return await begin(prepared)
            except KeyClaimedError as claimed:
                earlier: Earlier | None = claimed.earlier
            earlier = await self._settled(prepared.key, earlier, ends)
            if earlier is None:
                continue  # The backend has refused the earlier start, which has freed the key.
            if earlier.entry is not None and earlier.entry.name:
                # The request of a call that was approved is not sent again with its request_id.
                is_filled = prepared.request_id is not None and not earlier.is_asked
                filled = earlier.request_id if is_filled else None
                operation = await self._read(caller, backend, earlier.entry, read)
                return Started(operation, None, filled or None, is_repeat=True)
            if earlier.is_asked:
                return Started(await _handle(caller, earlier.id, read), is_repeat=True)
            prepared = _repeating(prepared, prepared.key, earlier)

    async def _read(
        self, caller: Principal, backend: Backend, entry: Entry, read: Read
    ) -> Operation:
        """Return the operation of an entry, or only its name if it cannot be read now."""
        name = self._router.present_name(backend.name, entry.name or "")
        try:
            async with asyncio.timeout(_READ_LIMIT):
                found = await read(caller, NameRequest(name, backend.name))
            if found.name == name:
                return found
        except TimeoutError:
            pass
        except StatusError as error:
            if error.code is Code.NOT_FOUND and entry.finished is not None:
                raise _gone(entry) from error
        begun = entry.started.timestamp()
        # The name must be in the backend's form there, but nobody reads it from this message.
        proto = operations_pb2.Operation(name=name)
        return Operation(backend.name, name, proto, backend.registry.types, begun, first_seen=begun)

    @asynccontextmanager
    async def _turn(self, key: Key, ends: float) -> AsyncIterator[None]:
        """Let the calls of this process that have the same key go one after another."""
        turn = self._turns.setdefault(key.digest, asyncio.Lock())
        try:
            async with asyncio.timeout(max(ends - time.monotonic(), 0.0)):
                await turn.acquire()
        except TimeoutError:
            raise under_way() from None
        try:
            yield
        finally:
            turn.release()

    async def _settled(self, key: Key, earlier: Earlier | None, ends: float) -> Earlier | None:
        """Return the earlier start once its call has ended, or None if its key is free again."""
        pause = _FIRST_PAUSE
        while earlier is not None and self._journal is not None:
            _check_same(key, earlier)
            if earlier.entry is None or earlier.entry.state is not EntryState.STARTING:
                return earlier
            left = ends - time.monotonic()
            if left <= 0:
                raise under_way()
            await race(self._shutdown.wait(), asyncio.sleep(min(pause, left)))
            if self._shutdown.has_begun:
                raise _stopped()
            pause = min(2 * pause, _LONGEST_PAUSE)
            earlier = await self._journal.earlier(key)
        return None


def _repeating(prepared: Prepared, key: Key, earlier: Earlier) -> Prepared:
    """Return the request with which to repeat a start whose outcome is unknown."""
    entry, field = earlier.entry, prepared.method.idempotency_key
    if entry is None or entry.state is not EntryState.UNKNOWN:
        raise _gone(entry)
    recognizes = prepared.rules.recognizes_repeats(prepared.method)
    if not earlier.request_id or field is None or not recognizes:
        raise _unknown(entry)
    setattr(prepared.request, field.name, earlier.request_id)
    filled = earlier.request_id if prepared.request_id is not None else None
    repeats = replace(key, request_id=earlier.request_id, repeats=earlier.id)
    return replace(prepared, request_id=filled, key=repeats)


async def _handle(caller: Principal, id_: str, read: Read) -> Operation:
    """Return a call that waits or waited for an approval, or the operation that it has started."""
    name = name_of(id_)
    try:
        return await read(caller, NameRequest(name))
    except StatusError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        raise status_error(
            Code.FAILED_PRECONDITION,
            f"the first call with this idempotency key had to wait for an approval, and {name} or"
            f" its operation can no longer be read, because {error.message}; to ask again, call"
            " with a new key",
            "IDEMPOTENT_OPERATION_GONE",
            metadata={"name": name},
        ) from error


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check_same(key: Key, earlier: Earlier) -> None:
    if key.fingerprint == earlier.fingerprint:
        return
    first = f": {name_of(earlier.id)}" if earlier.is_asked else ""
    if (entry := earlier.entry) is not None:
        first = f": {entry.method} on backend {entry.backend!r} at {_time(entry)}"
    raise status_error(
        Code.INVALID_ARGUMENT,
        f"the idempotency key stands for another request{first}; send this one with a new key, or"
        " that one again as it was",
        "IDEMPOTENCY_KEY_REUSED",
        metadata={"field": FIELD},
    )


def _problem(key: str) -> str:
    if not key:
        return "it is empty"
    return f"it has more than {_LONGEST} characters" if len(key) > _LONGEST else _NOT_ASCII


def malformed_key(problem: str) -> StatusError:
    """Return the error for a key that cannot be one."""
    return invalid_argument(FIELD, f"{problem}; a UUID is a good key", "IDEMPOTENCY_KEY_MALFORMED")


def _unsupported(path: str) -> StatusError:
    return status_error(
        Code.INVALID_ARGUMENT,
        f"{path} starts no operation, and the gateway recognizes only repeats of starts, so it"
        " takes no idempotency key; nothing was called; call it without a key",
        "IDEMPOTENCY_KEY_UNSUPPORTED",
        metadata={"field": FIELD, "method": path},
    )


def _no_store() -> StatusError:
    return status_error(
        Code.FAILED_PRECONDITION,
        "this gateway runs without a store, so it cannot recognize a repeat by an idempotency key;"
        " nothing was started; set store.url, or call without a key",
        "NO_STORE",
    )


def _unknown(entry: Entry) -> StatusError:
    why = f", because {entry.message}" if entry.message else ""
    return status_error(
        Code.UNKNOWN,
        f"nobody knows whether the first call with this idempotency key, at {_time(entry)}, has"
        f" started an operation{why}; the gateway does not start it again by itself; list the"
        f" operations of backend {entry.backend!r} since then, and only if it is not there, call"
        " again with a new key",
        "START_OUTCOME_UNKNOWN",
        metadata={"method": entry.method, "since": _time(entry)},
        backend=entry.backend,
    )


def _gone(entry: Entry | None) -> StatusError:
    what = "the operation that this idempotency key has started"
    if entry is None:
        lost = f"{what} is no longer recorded, for example because its record was deleted"
    elif entry.name:
        lost = f"{what}, {shown_name(entry.name)}, has ended ({entry.state.value}) and is gone"
    else:
        lost = f"{what} has ended ({entry.state.value}), and had no name to read it by"
    return status_error(
        Code.FAILED_PRECONDITION,
        f"{lost}; to start another one, call with a new key",
        "IDEMPOTENT_OPERATION_GONE",
        metadata={"name": entry.name or ""} if entry is not None else None,
    )


def _stopped() -> StatusError:
    return shutting_down("repeat the call with the same idempotency key")


def _time(entry: Entry) -> str:
    return entry.started.isoformat(timespec="seconds").replace("+00:00", "Z")
