"""The calls that wait for an approval, in a database."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from lro_gateway.principal import Principal
from lro_gateway.records import claims
from lro_gateway.records.approval import (
    KEPT,
    OPEN,
    UNDECIDED,
    Approval,
    ApprovalQuery,
    ApprovalState,
    Asked,
    Change,
)
from lro_gateway.records.database import Database
from lro_gateway.records.entries import Earlier, Key, first_id, now, storable
from lro_gateway.records.schema import APPROVALS
from lro_gateway.records.sweeper import Expiring

_C: Final = APPROVALS.c
_STATES_AT_ONCE: Final = 500
_OPEN: Final = [each.value for each in OPEN]
_UNDECIDED: Final = [each.value for each in UNDECIDED]


class SqlApprovals:
    """The approvals of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._take = claims.Claiming(database.dialect).take

    async def add(self, asked: Asked, most: int, key: Key | None = None) -> bool | Earlier:
        """Add a pending call, unless its key is not free or the caller has too many open ones."""
        row = _row(asked)
        owner = (_C.subject == row["subject"], _C.issuer == row["issuer"])
        of_caller = (*owner, _C.tenant == row["tenant"], _C.state.in_(_OPEN))
        count = sa.select(sa.func.count()).select_from(APPROVALS).where(*of_caller)
        known = sa.select(_C.id).where(_C.id == asked.id)

        times = (asked.created, asked.expires)

        def work(connection: Connection) -> bool | Earlier:
            # The transaction may run again after it was committed.
            if connection.scalar(known) is not None:
                return True
            earlier = None if key is None else claims.earlier(key, connection)
            if key is not None and earlier is not None and earlier.id != key.repeats:
                return earlier
            if int(connection.scalar(count) or 0) >= most:
                return False
            # Another replica may have taken the key since it was read.
            if key is not None and (earlier := self._take(key, asked.id, times, connection)):
                return earlier
            connection.execute(APPROVALS.insert().values(row)).close()
            return True

        return await self._database.write(work)

    async def get(self, id_: str) -> Approval | None:
        """Return a call, or None if there is none."""
        found = await self._read(sa.select(APPROVALS).where(_C.id == id_))
        return found[0] if found else None

    async def states(self, ids: Collection[str]) -> Mapping[str, ApprovalState]:
        """Return the states of calls by their ids."""
        listed = [*ids]
        found: dict[str, ApprovalState] = {}
        for at in range(0, len(listed), _STATES_AT_ONCE):
            part = listed[at : at + _STATES_AT_ONCE]
            rows = await self._database.read(partial(_state_rows, part))
            found |= {row[0]: ApprovalState(row[1]) for row in rows}
        return found

    async def page(self, query: ApprovalQuery) -> Sequence[Approval]:
        """Return the first calls that a query selects."""
        issuer, subject, tenant = query.caller.identity
        own = sa.and_(_C.subject == subject, _C.issuer == issuer, _C.tenant == tenant)
        statement = sa.select(APPROVALS).where(sa.or_(own, _C.backend.in_([*query.backends])))
        if query.state is not None:
            statement = statement.where(_C.state == query.state.value)
        if query.before:
            statement = statement.where(_C.id < query.before)
        return await self._read(statement.order_by(_C.id.desc()).limit(query.limit))

    async def move(
        self,
        id_: str,
        before: Collection[ApprovalState],
        after: ApprovalState,
        change: Change | None = None,
        *,
        at: dt.datetime | None = None,
    ) -> bool:
        """Change the state of a call if it is one of `before`; return whether this call did so."""
        # The transaction may run again after it was committed, and then finds its own mark.
        mark = secrets.token_hex(16)
        condition = [_C.id == id_, _C.state.in_([each.value for each in before])]
        if at is not None:
            condition.append(_C.expires > at)
        values = {**_changed(change or Change()), "state": after.value, "mark": mark}
        update = APPROVALS.update().where(*condition).values(values)
        done = sa.select(_C.id).where(_C.id == id_, _C.mark == mark)

        def work(connection: Connection) -> bool:
            connection.execute(update).close()
            return connection.scalar(done) is not None

        return await self._database.write(work)

    async def overdue(self, now: dt.datetime, limit: int) -> Sequence[Approval]:
        """Return calls that are still open although they have expired."""
        return await self._read(
            sa.select(APPROVALS).where(_C.state.in_(_OPEN), _C.expires <= now).limit(limit)
        )

    async def approved(self, limit: int) -> Sequence[Approval]:
        """Return approved calls that wait for their start, the oldest first."""
        waits = _C.state == ApprovalState.APPROVED.value
        return await self._read(sa.select(APPROVALS).where(waits).order_by(_C.id).limit(limit))

    async def is_used(self) -> bool:
        """Return whether any call waits or has waited."""
        some = sa.select(_C.id).limit(1)
        return await self._database.read(lambda c: c.scalar(some)) is not None

    @property
    def expiring(self) -> Sequence[Expiring]:
        """The rows that a sweeper deletes: those of calls that ended and were asked long ago."""
        return (Expiring(APPROVALS, lambda _, time: _old(time)),)

    async def recover(self, *, is_alone: bool) -> None:
        """Mark starts as unknown whose processes ended before they had an answer.

        If no other process can use the database, these are all starts without an answer.
        """
        is_over = sa.true() if is_alone else _C.answer_by < now()
        lost = APPROVALS.update().where(_C.state == ApprovalState.STARTING.value, is_over)
        change = lost.values(state=ApprovalState.UNKNOWN.value)
        await self._database.write(lambda connection: connection.execute(change).close())

    async def _read(self, statement: Any) -> list[Approval]:
        rows = await self._database.read(lambda c: c.execute(statement).mappings().all())
        return [_approval(row) for row in rows]


def _old(time: dt.datetime) -> ColumnElement[bool]:
    return sa.and_(_C.id < first_id(time - KEPT), _C.state.not_in(_UNDECIDED))


def _state_rows(ids: Sequence[str], connection: Connection) -> Sequence[Any]:
    return connection.execute(sa.select(_C.id, _C.state).where(_C.id.in_(ids))).all()


def _row(asked: Asked) -> dict[str, Any]:
    issuer, subject, tenant = asked.caller.identity
    return {
        "id": asked.id,
        "issuer": issuer,
        "subject": subject,
        "tenant": tenant,
        "claims": _claims(asked.caller),
        "backend": asked.backend,
        "method": asked.method,
        "request": asked.request,
        "needs_caller": asked.needs_caller,
        "state": ApprovalState.PENDING.value,
        "created": asked.created,
        "expires": asked.expires,
        "reason": "",
        "operation": "",
        "outcome": "",
    }


def _claims(caller: Principal) -> str:
    claims = {
        "client": caller.client,
        "groups": sorted(caller.groups),
        "scopes": sorted(caller.scopes),
    }
    return json.dumps(claims)


def _changed(change: Change) -> dict[str, Any]:
    """Return the columns that change."""
    decider = change.decider
    values = {
        "decided": change.decided,
        "decider": None if decider is None else json.dumps([*decider.identity, decider.client]),
        "reason": None if change.reason is None else storable(change.reason),
        "answer_by": change.answer_by,
        "operation": None if change.operation is None else storable(change.operation),
        "outcome": change.outcome,
    }
    return {name: value for name, value in values.items() if value is not None}


def _approval(row: Mapping[Any, Any]) -> Approval:
    claims = json.loads(row["claims"])
    caller = Principal(
        row["subject"],
        row["issuer"],
        row["tenant"],
        frozenset(claims["groups"]),
        frozenset(claims["scopes"]),
        claims["client"],
    )
    asked = Asked(
        row["id"],
        caller,
        row["backend"],
        row["method"],
        row["request"],
        bool(row["needs_caller"]),
        row["created"],
        row["expires"],
    )
    state = ApprovalState(row["state"])
    if state is ApprovalState.STARTING and row["answer_by"] < now():
        state = ApprovalState.UNKNOWN
    return Approval(
        asked,
        state,
        row["decided"],
        _decider(row["decider"]),
        row["reason"],
        row["operation"],
        row["outcome"],
    )


def _decider(text: str | None) -> Principal | None:
    if text is None:
        return None
    issuer, subject, tenant, client = json.loads(text)
    return Principal(subject, issuer, tenant, client=client)
