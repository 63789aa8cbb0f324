"""The journal in a database."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cachetools import LRUCache
from sqlalchemy import ColumnElement, Connection, Executable

from lro_gateway.errors import StatusError
from lro_gateway.operations.operation import Operation
from lro_gateway.records import claims, statements
from lro_gateway.records.archive import SqlArchive
from lro_gateway.records.batches import Batches, Write
from lro_gateway.records.database import Database
from lro_gateway.records.entries import (
    Earlier,
    EntryPage,
    EntryState,
    JournalLimits,
    Key,
    Knowledge,
    Query,
    Start,
    now,
    recorded,
    recorded_names,
    storable,
)
from lro_gateway.records.newest import read_in_order
from lro_gateway.records.prepared import Row
from lro_gateway.records.recording import Recording
from lro_gateway.records.schema import IDEMPOTENCY_KEYS, OPERATIONS
from lro_gateway.records.sweeper import Expiring
from lro_gateway.records.working import Unchanged

logger: Final = logging.getLogger(__name__)

_INTERVAL: Final = 1.0
"""Seconds between two writes of the states that reads and watches have seen."""
_MAX_SEEN: Final = 10_000
"""The number of operations whose states wait to be written."""
_MAX_KNOWN: Final = 10_000
_MAX_LATER: Final = 10_000
_NAMES: Final = 200
"""The number of names in one query."""
_SEEN_AGAIN: Final = 30.0
"""Seconds after which it is written that an operation was seen without a change."""

_Key = tuple[str, str]
"""A backend's name, and an operation's canonical name."""


@dataclass(slots=True)
class _Known:
    """The state of an operation that was last written.

    `id` is None if there is nothing to write: it was not started through the gateway, or its end
    was known before this process met it. `copies` are the views of which the archive has a copy.
    `changed` and `seen` are in seconds since the epoch. `mark` is a hash of the last metadata.
    """

    id: str | None
    method: str = ""
    state: tuple[Any, ...] = ()
    changed: float = 0.0
    seen: float = 0.0
    mark: int | None = None
    has_ended: bool = False
    copies: frozenset[str] = frozenset()


class SqlJournal:
    """The journal of one database.

    A caller waits only for the rows of its own starts. The states that reads see are collected and
    written once a second, so no read waits for it.
    """

    def __init__(
        self,
        database: Database,
        limits: JournalLimits | None = None,
        archive: SqlArchive | None = None,
    ) -> None:
        self._database = database
        self._limits = limits or JournalLimits()
        self._archive = archive
        self._batches = Batches(database)
        self._recording = Recording(database.dialect)
        self._claim = claims.Claiming(database.dialect)
        self._seen: dict[_Key, Operation | Knowledge] = {}
        self._later: list[Write] = []
        self._flushing = asyncio.Lock()
        self._noticed: set[_Key] = set()
        self._known: LRUCache[_Key, _Known] = LRUCache(_MAX_KNOWN)

    async def begin(self, start: Start) -> None:
        """Record a start before it is sent."""
        await self._batches.write(self._recording.begun(start))

    async def claim(self, start: Start) -> Earlier | None:
        """Record a start with a key, unless an earlier start has the key."""
        if start.key is None:
            raise ValueError("the start has no key")
        return await self._database.write(partial(self._claim, start, start.key))

    async def earlier(self, key: Key) -> Earlier | None:
        """Return the start that has a key, if there is one."""
        return await self._database.read(partial(claims.earlier, key))

    async def settle(self, start: Start, knowledge: Knowledge) -> None:
        """Record how the call of a start ended."""
        copies = await self._copies(start.id, knowledge)
        writes = self._recording.answered(start, knowledge, copies)
        try:
            await self._batches.write(*writes)
        except StatusError:
            for each in writes:
                self._write_later(*each)
            raise
        if knowledge.name is not None:
            key = (start.backend, knowledge.name)
            self._known[key] = _known(_Known(start.id, start.method), knowledge, None)

    async def withdraw(self, start: Start) -> None:
        """Remove a start that the backend has refused, and free its key."""
        row, key = statements.removed_row(start.id), start.key
        try:
            if key is None:
                await self._batches.write((statements.REMOVE, row))
            else:
                await self._database.write(partial(claims.release, start, key))
        except StatusError:
            if key is not None:
                self._write_later(claims.RELEASE, claims.released_row(start, key))
            self._write_later(statements.REMOVE, row)

    def observe(self, operation: Operation) -> None:
        """Record, soon, the state of an operation if it was started here."""
        if len(self._seen) < _MAX_SEEN or operation.done:
            self._seen[operation.backend, operation.name] = operation

    def unchanged(self, operation: Operation) -> Unchanged | None:
        """Return since when a running operation has not changed, if it was started here."""
        known = self._known.get((operation.backend, operation.name))
        if known is None or not known.method or known.has_ended:
            return None
        return Unchanged(known.method, known.changed)

    def has_met(self, backend: str, name: str) -> bool:
        """Return whether an operation has a row, or had one when this process last looked."""
        known = self._known.get((backend, name))
        return known is not None and known.id is not None

    def look_again(self, backend: str, name: str) -> None:
        """Look an operation up again that had no row, because it may have been adopted since."""
        key = (backend, name)
        if (known := self._known.get(key)) is not None and known.id is None:
            del self._known[key]

    def has_moved(self, operation: Operation) -> bool:
        """Return whether a state has other metadata than the one before it."""
        known = self._known.get((operation.backend, operation.name))
        return known is not None and known.mark not in {None, mark_of(operation)}

    def notice(self, operation: Operation, expected: float) -> None:
        """Record, soon, that an observed operation has had no change for so many seconds."""
        key = operation.backend, operation.name
        known = self._known.get(key)
        if known is not None and known.seen - known.changed <= expected:
            self._noticed.add(key)

    def lose(self, backend: str, name: str, error: StatusError) -> None:
        """Record, soon, that a backend no longer has an operation, if it was started here."""
        seen = self._seen.get((backend, name))
        if isinstance(seen, Operation) and seen.done:
            return
        self._seen[backend, name] = Knowledge.unknown(error, name)

    def forget(self, backend: str, name: str) -> None:
        """Remove, soon, an operation whose record was deleted."""
        self._seen.pop((backend, name), None)
        self._known.pop((backend, name), None)
        for each in recorded_names(backend, name):
            self._write_later(statements.FORGET, statements.forgotten_row(backend, each))

    async def page(self, query: Query) -> EntryPage:
        """Return a page of entries, also by the ends that were seen here and wait to be written."""
        if self._later or any(map(self._has_news, self._seen)):
            # A store that does not answer must not let its callers wait twice.
            catching_up = asyncio.create_task(self.flush(), context=Context())
            await asyncio.wait({catching_up}, timeout=_INTERVAL)
        since = now() if self._archive is None else self._archive.since
        return await self._database.read(partial(_page, query, since))

    def _has_news(self, key: _Key) -> bool:
        """Return whether the end of an operation was seen, and may not be in its row."""
        seen, known = self._seen[key], self._known.get(key)
        has_ended = seen.done if isinstance(seen, Operation) else seen.finished is not None
        return has_ended and (known is None or (known.id is not None and not known.has_ended))

    @property
    def expiring(self) -> Sequence[Expiring]:
        """The rows that a sweeper deletes: those that are too old or too many."""
        limits = self._limits
        return (
            Expiring(OPERATIONS, lambda _, time: statements.unheard(limits.retention, time)),
            Expiring(OPERATIONS, lambda connection, _: _excess(limits.max_rows, connection)),
            Expiring(IDEMPOTENCY_KEYS, lambda _, time: claims.expired(time)),
        )

    async def recover(self, *, is_alone: bool) -> None:
        """Mark starts as unknown whose processes ended before they had an answer.

        If no other process can use the database, these are all starts without an answer.
        """
        statement = statements.abandoned(now(), is_alone=is_alone)
        await self._database.write(lambda connection: connection.execute(statement).close())

    async def run(self) -> None:
        """Write what callers wait for at once, and the rest every second, until `close`."""
        async with asyncio.TaskGroup() as group:
            flushing = group.create_task(self._flush_for_ever())
            await self._batches.run()
            flushing.cancel()

    async def close(self) -> None:
        """Write all that waits, and let `run` end."""
        await self.flush()
        self._batches.close()

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write what has waited. If the store does not answer, it waits on."""
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        later, self._later = self._later, []
        seen, self._seen = self._seen, {}
        noticed, self._noticed = self._noticed, set()
        try:
            later += await self._changes(seen, noticed)
            # From here on, what was seen is in these rows, which can be written twice.
            seen = {}
            await asyncio.gather(*(self._batches.write(each) for each in later))
        except StatusError as error:
            logger.warning("rows of the journal are written later: %s", error.message)
            self._later = later + self._later
            self._seen = {**seen, **self._seen}
            self._noticed |= noticed & self._seen.keys()

    def _write_later(self, statement: Executable, row: Row) -> None:
        if len(self._later) < _MAX_LATER:
            self._later.append((statement, row))

    async def _changes(
        self, seen: dict[_Key, Operation | Knowledge], noticed: Collection[_Key]
    ) -> list[Write]:
        """Return the writes for the operations that were started here and have changed.

        It is also written that an operation has not changed: from time to time, and if that was
        noticed.
        """
        await self._look_up([key for key in seen if key not in self._known])
        writes: list[Write] = []
        for key, found in seen.items():
            known = self._known.get(key)
            if known is None or known.id is None or _is_written(known, found):
                continue
            knowledge = await Knowledge.of(found) if isinstance(found, Operation) else found
            mark = mark_of(found) if isinstance(found, Operation) else None
            fresh = _known(known, knowledge, mark)
            if knowledge.final is not None and knowledge.final.view not in known.copies:
                writes += await self._copies(known.id, knowledge)
            if known.has_ended:
                known.copies = fresh.copies
                continue
            if fresh.state != known.state:
                row = statements.known_row(known.id, knowledge)
                writes.append((statements.UPDATE, {**row, "name": storable(key[1])}))
            elif key in noticed or abs(fresh.seen - known.seen) >= _SEEN_AGAIN:
                row = statements.seen_row(known.id, knowledge.seen, fresh.changed)
                writes.append((statements.SEE, row))
            else:
                known.changed, known.mark = fresh.changed, fresh.mark
                continue
            self._known[key] = fresh
        return writes

    async def _copies(self, id_: str, knowledge: Knowledge) -> list[Write]:
        """Return the write that puts an operation into the archive, if it has ended."""
        if self._archive is None or knowledge.final is None:
            return []
        return [(self._archive.insert, await self._archive.row(id_, knowledge.final))]

    async def _look_up(self, keys: list[_Key]) -> None:
        """Find the rows of operations, which this process or another one has started."""
        by_backend: defaultdict[str, list[str]] = defaultdict(list)
        for backend, name in keys:
            by_backend[backend].append(name)
        for backend, names in by_backend.items():
            for at in range(0, len(names), _NAMES):
                part = names[at : at + _NAMES]
                found = await self._database.read(partial(_unfinished, backend, part))
                for name in part:
                    # A start that ended while this read ran has set a newer state.
                    known = recorded(found, backend, name) or _Known(None)
                    self._known.setdefault((backend, name), known)


def _known(before: _Known, knowledge: Knowledge, mark: int | None) -> _Known:
    copies = before.copies
    if knowledge.final is not None:
        copies |= {knowledge.final.view}
    state, seen = (knowledge.state, knowledge.percent), knowledge.seen.timestamp()
    has_changed = state != before.state or (before.mark is not None and mark != before.mark)
    changed = seen if has_changed else before.changed
    ended = knowledge.finished is not None and knowledge.state is not EntryState.UNKNOWN
    return _Known(before.id, before.method, state, changed, seen, mark, ended, copies)


def mark_of(operation: Operation) -> int:
    """Return a hash of the metadata, which is the same in this process alone."""
    metadata = operation.proto.metadata
    return hash((metadata.type_url, metadata.value))


def _is_written(known: _Known, found: Operation | Knowledge) -> bool:
    """Return whether an operation has ended, and the archive has what was found."""
    if not known.has_ended:
        return False
    return not (isinstance(found, Operation) and found.done and found.view not in known.copies)


def _unfinished(backend: str, names: list[str], connection: Connection) -> dict[str, _Known]:
    stored = [each for name in names for each in recorded_names(backend, name)]
    query = statements.unfinished_ids(backend, stored)
    return {
        row.name: _Known(
            row.id, row.method, (EntryState(row.state), row.percent), row.changed.timestamp()
        )
        for row in connection.execute(query)
    }


def _excess(max_rows: int, connection: Connection) -> ColumnElement[bool] | None:
    excess = (connection.scalar(statements.COUNT) or 0) - max_rows
    last = connection.scalar(statements.oldest(excess)) if excess > 0 else None
    return None if last is None else statements.up_to(last)


def _page(query: Query, kept_since: dt.datetime, connection: Connection) -> EntryPage:
    """Search a bounded number of the newest rows of the owner, so that no search takes long."""
    time = now()
    where = statements.conditions(query, time)
    last = None
    if where:
        read_in_order(connection)
        last = connection.scalar(statements.bound(query))
    found = connection.execute(statements.page(query, where, last, kept_since)).all()
    entries = [statements.entry_of(row, time, row.archived) for row in found[: query.limit]]
    if len(found) > query.limit:
        return EntryPage(entries, entries[-1].id)
    return EntryPage(entries, last or "")
