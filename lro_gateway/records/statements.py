"""The statements of the journal, and its rows as entries."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy import Executable

from lro_gateway.records.entries import (
    Entry,
    EntryState,
    Knowledge,
    Query,
    Start,
    first_id,
    new_id,
    now,
    storable,
)
from lro_gateway.records.newest import AFTER_ALL, newest_first
from lro_gateway.records.owners import Owner
from lro_gateway.records.schema import ARCHIVE, OPERATIONS, insert_into

_C: Final = OPERATIONS.c
_ROW: Final = "row"
_OWNER: Final = (_C.subject, _C.issuer, _C.tenant, _C.id)
_TENANT: Final = (_C.tenant, _C.id)
"""The columns of the indexes in which an owner finds its rows in the order of their ids."""
STARTED: Final = (
    *("id", "issuer", "subject", "tenant", "client", "backend", "method", "request_digest"),
    *("request", "state", "started", "answer_by", "changed", "seen"),
)
"""The columns of a start that has no answer yet."""
ANSWERED: Final = ("name", "percent", "finished", "code", "message")
"""The further columns of a start that has an answer."""
WAS_STARTED: Final[sa.ColumnElement[bool]] = _C.method != sa.literal_column("''")
"""The condition of an operation that was started here. An adopted one has no method."""
KNOWN: Final = ("state", "changed", "seen", *ANSWERED)
"""The columns that an answer sets."""
SCANNED: Final = 5_000
"""The number of rows among which one page searches."""
ENTRY: Final = (
    *(_C.id, _C.issuer, _C.subject, _C.backend, _C.name, _C.method, _C.request, _C.state),
    *(_C.percent, _C.started, _C.answer_by, _C.changed, _C.seen, _C.finished, _C.code, _C.message),
)
"""The columns from which `entry_of` makes an entry."""


def insert(dialect: str) -> Executable:
    """Return the statement that inserts a start, and does nothing if it is there already."""
    insertion = insert_into(dialect, OPERATIONS)
    statement: Executable = insertion.on_conflict_do_nothing(index_elements=["id"])
    return statement


SETTLE: Final = (
    OPERATIONS.update()
    .where(_C.id == sa.bindparam(_ROW))
    .values({name: sa.bindparam(name) for name in KNOWN})
)
"""Writes all that an answer tells, whatever the row has."""
_UNKNOWN: Final[sa.ColumnElement[str]] = sa.literal_column(f"'{EntryState.UNKNOWN.value}'")
_IS_OPEN: Final = _C.finished.is_(None) | (_C.state == _UNKNOWN)
"""The condition of an operation whose end is not known. A backend may find a lost one again."""
UPDATE: Final = SETTLE.where(_IS_OPEN)
"""As `SETTLE`, unless the end of the operation is known, because that is final."""
SEE: Final = (
    OPERATIONS.update()
    .where(_C.id == sa.bindparam(_ROW), _C.finished.is_(None))
    .values(seen=sa.bindparam("seen"), changed=sa.bindparam("changed"))
)
"""Sets when the gateway last read an operation, and when its metadata last changed."""
REMOVE: Final = OPERATIONS.delete().where(_C.id == sa.bindparam(_ROW))
FORGET: Final = OPERATIONS.delete().where(
    _C.backend == sa.bindparam("of_backend"), _C.name == sa.bindparam("of_name")
)


def start_row(start: Start) -> dict[str, Any]:
    """Return the row of a start that has no answer yet."""
    caller = start.caller
    return {
        "id": start.id,
        "issuer": caller.issuer,
        "subject": caller.subject,
        "tenant": caller.tenant,
        "client": caller.client,
        "backend": start.backend,
        "method": start.method,
        "request_digest": start.digest,
        "request": start.request,
        "state": EntryState.STARTING.value,
        "started": start.started,
        "answer_by": start.answer_by,
        "changed": start.started,
        "seen": start.started,
    }


def adopted_row(subscriber: Owner, backend: str, name: str) -> dict[str, Any]:
    """Return the row of an operation that runs, and that nobody has started here."""
    moment = now()
    return {
        "id": new_id(),
        "issuer": subscriber.issuer,
        "subject": subscriber.subject,
        "tenant": subscriber.tenant,
        "client": "",
        "backend": backend,
        "name": storable(name),
        "method": "",
        "request_digest": "",
        "state": EntryState.RUNNING.value,
        **dict.fromkeys(("started", "answer_by", "changed", "seen"), moment),
    }


def known_row(id_: str, knowledge: Knowledge, changed: dt.datetime | None = None) -> dict[str, Any]:
    """Return the values of `SETTLE` or `UPDATE`."""
    return {
        _ROW: id_,
        "name": knowledge.name,
        "state": knowledge.state.value,
        "percent": knowledge.percent,
        "changed": changed or knowledge.seen,
        "seen": knowledge.seen,
        "finished": knowledge.finished,
        "code": knowledge.code,
        "message": knowledge.message,
    }


def seen_row(id_: str, seen: dt.datetime, changed: float) -> dict[str, Any]:
    """Return the values of `SEE`. `changed` is in seconds since the epoch."""
    return {_ROW: id_, "seen": seen, "changed": dt.datetime.fromtimestamp(changed, dt.UTC)}


def removed_row(id_: str) -> dict[str, Any]:
    """Return the values of `REMOVE`."""
    return {_ROW: id_}


def forgotten_row(backend: str, name: str) -> dict[str, Any]:
    """Return the values of `FORGET`."""
    return {"of_backend": backend, "of_name": name}


def abandoned(now: dt.datetime, *, is_alone: bool) -> Executable:
    """Return the statement that marks starts as unknown whose process has ended."""
    is_over = sa.true() if is_alone else _C.answer_by < now
    return (
        OPERATIONS.update()
        .where(_C.finished.is_(None), _C.state == EntryState.STARTING.value, is_over)
        .values(state=EntryState.UNKNOWN.value, changed=now, finished=now, message=ABANDONED)
    )


def unheard(retention: dt.timedelta, now: dt.datetime) -> sa.ColumnElement[bool]:
    """Return the condition of the rows of whose operations nothing was heard for so long."""
    since = now - retention
    # The ids bound the search to the rows that are old enough, in their order on the disk.
    return (_C.id < first_id(since)) & (_C.seen < since)


COUNT: Final = sa.select(sa.func.count()).select_from(OPERATIONS)


def oldest(number: int) -> sa.Select[Any]:
    """Return the query for the id of the last one of so many oldest rows."""
    return sa.select(_C.id).order_by(_C.id).offset(number - 1).limit(1)


def up_to(id_: str) -> sa.ColumnElement[bool]:
    """Return the condition of a row and of all older ones."""
    return _C.id <= id_


ABANDONED: Final = "the gateway stopped before the backend answered, so the start may have begun"


def unfinished_ids(backend: str, names: list[str]) -> sa.Select[Any]:
    """Return the query for the operations whose end is not known, the latest start last."""
    return (
        sa.select(_C.name, _C.id, _C.method, _C.state, _C.percent, _C.changed)
        .where(_C.backend == backend, _C.name.in_(names), _IS_OPEN)
        # What was adopted may turn out to be started here.
        .order_by(WAS_STARTED, _C.id)
    )


def bound(query: Query) -> sa.Select[Any]:
    """Return the query for the id of the last row that a page searches, if there are so many."""
    return _newest(sa.select(_C.id), query).offset(SCANNED - 1).limit(1)


def page(
    query: Query, found: list[Any], last: str | None, kept_since: dt.datetime
) -> sa.Select[Any]:
    """Return the query for the rows of a page and one more, among those down to the id `last`.

    Copies in the archive from before `kept_since` are too old.
    """
    is_copy = (ARCHIVE.c.id == _C.id) & (ARCHIVE.c.archived >= kept_since)
    archived = sa.select(sa.func.max(ARCHIVE.c.archived)).where(is_copy).scalar_subquery()
    rows = sa.select(*ENTRY, archived.label("archived")).where(*found)
    return _newest(rows, query, last or "").limit(query.limit + 1)


def _newest(rows: sa.Select[Any], query: Query, last: str = "") -> sa.Select[Any]:
    """Return the rows of the owner from the newest one down to the id `last`, by an index."""
    caller = query.caller
    lowest = max(last, first_id(query.since) if query.since is not None else "")
    until = first_id(query.until) if query.until is not None else AFTER_ALL
    highest = min(query.before or AFTER_ALL, until)
    of_tenant = bool(query.of_tenant and caller.tenant)
    is_unfinished = query.state in {EntryState.RUNNING, EntryState.STARTING}
    if is_unfinished:
        rows = rows.where(_C.finished.is_(None))
    if of_tenant and query.personal:
        is_own = sa.and_(_C.subject == caller.subject, _C.issuer == caller.issuer)
        rows = rows.where(is_own | _C.backend.not_in(sorted(query.personal)))
    if of_tenant and is_unfinished:
        # Few rows are unfinished, and their index has another order. No index has the order of this
        # expression, so the database does not choose an index with many more rows.
        id_ = _C.id.concat("")
        rows = rows.where(_C.tenant == caller.tenant, id_ >= lowest, id_ < highest)
        return rows.order_by(id_.desc())
    if of_tenant:
        # SQLite takes an index of some rows only if the query has its condition as it is.
        rows = rows.where(_C.tenant != sa.literal_column("''"))
        return newest_first(rows, _TENANT, [caller.tenant], lowest=lowest, before=highest)
    owner = (caller.subject, caller.issuer, caller.tenant)
    return newest_first(rows, _OWNER, owner, lowest=lowest, before=highest)


def conditions(query: Query, now: dt.datetime) -> list[Any]:
    """Return the conditions that need a search of the rows."""
    found: list[Any] = []
    if query.state is not None:
        is_lost = (_C.state == EntryState.STARTING.value) & (_C.answer_by < now)
        if query.state is EntryState.UNKNOWN:
            found.append((_C.state == query.state.value) | is_lost)
        else:
            found.append((_C.state == query.state.value) & ~is_lost)
    if query.backend:
        found.append(_C.backend == query.backend)
    if query.method:
        found.append(_has(_C.method, query.method))
    if query.text:
        texts = (_C.name, _C.method, _C.request, _C.message)
        has = [_has(each, query.text) for each in texts]
        # A request is JSON, in which a quote or a line break of a value is escaped.
        escaped = orjson.dumps(query.text).decode()[1:-1]
        has += [] if escaped == query.text else [_has(_C.request, escaped)]
        found.append(sa.or_(*has))
    return found


def _has(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column has a text in any case."""
    # No text of the store has a NUL character, on either database.
    text = storable(text)
    # The databases know the cases of ASCII alone, unless PostgreSQL has a locale with more.
    cases = {text} if text.isascii() else {text, text.lower(), text.upper(), text.title()}
    return sa.or_(*(column.icontains(each, autoescape=True) for each in sorted(cases)))


def entry_of(row: Any, now: dt.datetime, archived: dt.datetime | None = None) -> Entry:
    """Return the entry of a row. A start whose call must have ended by now is unknown."""
    state, message = EntryState(row.state), row.message
    if state is EntryState.STARTING and row.answer_by < now:
        state, message = EntryState.UNKNOWN, ABANDONED
    return Entry(
        row.id,
        row.issuer,
        row.subject,
        row.backend,
        row.name,
        row.method,
        row.request,
        state,
        row.percent,
        row.started,
        row.changed,
        row.seen,
        row.finished,
        row.code,
        message,
        archived,
    )
