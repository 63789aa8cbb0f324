"""Which of the processes that share a database run, and who takes over from those that do not.

A process alone with its file of SQLite takes over everything when it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.records.database import Database
from lro_gateway.records.event_entries import Tracked
from lro_gateway.records.event_rows import tracked_of
from lro_gateway.records.event_schema import DELIVERIES, REPLICAS, TRACKERS
from lro_gateway.records.silences import Beat, Silences

BEAT: Final = 2.0
"""Seconds between two beats."""
LEASE: Final = 8.0
"""Seconds without a beat after which a process counts as dead."""
_NOW: Final = sa.func.statement_timestamp()
"""The clock of the database, because the clocks of replicas differ."""
_RUNS: Final = TRACKERS.c.finished.is_(None)
_PENDING: Final = DELIVERIES.c.state == "pending"
_CHANNEL: Final = "lro_gateway_events"
_LEFT: Final = "left"
"""The payload by which a process tells that others can take over from it."""
_TAKING: Final = 0x6C726F
"""The lock of the transactions that take over. Its number is arbitrary."""
_GONE: Final = ""
"""The id in the row of an operation that its process no longer follows."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The work that a process goes on with: operations to follow, and ids of deliveries.

    If it `was_dead`, this is all that it has, and it must leave everything else to others. `beats`
    are the last ones of the other processes.
    """

    tracked: list[Tracked] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)
    was_dead: bool = False
    beats: Sequence[Beat] = ()


class SqlReplicas:
    """The processes of one database. `replica` is the id of this one.

    After `lease` seconds in which this process has not shown that it runs, others take over.
    """

    def __init__(self, database: Database, replica: str, version: int) -> None:
        self._database = database
        self._replica = replica
        self._version = version
        self.is_shared = database.dialect == "postgresql"
        self.lease = LEASE
        self.silences = Silences(LEASE)
        self._has_begun = False
        self._failures = 0

    async def listen(self, told: Callable[[bool], None]) -> None:
        """Call `told` after each event that any process has written, for ever.

        `told` gets True if the event is that a process stops.
        """
        await self._database.listen(_CHANNEL, lambda payload: told(payload == _LEFT))

    async def look(self, *, is_unsure: bool = False) -> Taken:
        """Return what this process must take over now, and show that it runs.

        Only one process takes over from another. A process that has counted as dead itself goes on
        with nothing that others have taken. If this process `is_unsure` of what it has, or if a
        write has failed, whose transaction may be committed, the answer has everything that this
        process has.
        """
        failures = self._database.activity.failures
        is_unsure = is_unsure or failures != self._failures or not self._has_begun
        if self.is_shared:
            # On a slow disk, many writes may wait. A process whose beat waited for them would count
            # as dead, and the others would get its work on top of theirs. An unsure process waits
            # all the same, because it must know the outcomes of its writes first.
            beat = partial(self._beat, is_unsure)
            write = partial(self._database.write, may_wait=True)
            taken = await (write if is_unsure else self._database.write_beside)(beat)
            self.silences.note(taken.beats)
        elif is_unsure:
            # No other process can use the database, so everything belongs to this one.
            taken = await self._database.write(
                partial(self._take, lambda _: sa.true()), may_wait=True
            )
        else:
            taken = Taken()
        self._has_begun, self._failures = True, failures
        return taken

    async def own(self) -> Taken:
        """Return everything that this process has after all writes that wait."""
        return await self._database.write(partial(self._take, self._is_own), may_wait=True)

    async def leave_operations(self) -> None:
        """Let the others follow the operations of this process at once."""
        statement = (
            TRACKERS.update()
            .where(TRACKERS.c.replica == self._replica, _RUNS)
            .values(replica=_GONE)
        )
        await self._database.write(partial(_left, statement), may_wait=True)

    async def leave(self) -> None:
        """Let the others take over everything at once."""
        statement = REPLICAS.delete().where(REPLICAS.c.id == self._replica)
        await self._database.write(partial(_left, statement), may_wait=True)

    def _beat(self, is_unsure: bool, connection: Connection) -> Taken:
        own = REPLICAS.c.id == self._replica
        is_new = not connection.execute(REPLICAS.update().where(own).values(beat=_NOW)).rowcount
        if is_new:
            connection.execute(REPLICAS.insert().values(id=self._replica, beat=_NOW))
        beats = self._beats(connection)
        for each in filter(self.silences.is_dead, beats):
            # It may have shown meanwhile that it runs.
            is_silent = (REPLICAS.c.id == each.replica) & (REPLICAS.c.beat == each.time)
            connection.execute(REPLICAS.delete().where(is_silent))
        was_dead = is_new and self._has_begun
        taken = Taken()
        if is_unsure or was_dead:
            taken = self._take(lambda of: sa.or_(_is_orphan(of), self._is_own(of)), connection)
        elif connection.scalar(_HAS_ORPHAN, {"version": self._version}):
            taken = self._take(_is_orphan, connection)
        return replace(taken, was_dead=was_dead, beats=beats)

    def _beats(self, connection: Connection) -> list[Beat]:
        """Return the last beats of the other processes."""
        age = sa.func.extract("epoch", _NOW - REPLICAS.c.beat)
        query = sa.select(REPLICAS.c.id, REPLICAS.c.beat, age.label("age"))
        rows = connection.execute(query.where(REPLICAS.c.id != self._replica))
        return [Beat(row.id, row.beat, float(row.age)) for row in rows]

    def _is_own(self, replica: Any) -> Any:
        return replica == self._replica

    def _take(self, which: Callable[[Any], Any], connection: Connection) -> Taken:
        """Take over the work of the processes that `which` selects by their ids."""
        if self.is_shared:
            # Without the lock, another process that takes over at the same time might not see the
            # row of this one yet, and would take over from it.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TAKING)))
        tracked = connection.execute(
            TRACKERS.update()
            .where(which(TRACKERS.c.replica), _RUNS, TRACKERS.c.version <= self._version)
            .values(replica=self._replica, version=self._version)
            .returning(TRACKERS)
        ).all()
        deliveries = connection.execute(
            DELIVERIES.update()
            .where(which(DELIVERIES.c.replica), _PENDING, DELIVERIES.c.version <= self._version)
            .values(replica=self._replica, version=self._version)
            .returning(DELIVERIES.c.id)
        ).scalars()
        return Taken([tracked_of(row) for row in tracked], [*deliveries])


def _is_orphan(replica: Any) -> Any:
    """Return the condition that no process with this id runs."""
    return replica.not_in(sa.select(REPLICAS.c.id))


_VERSION: Final = sa.bindparam("version", type_=sa.Integer)
_HAS_ORPHAN: Final = sa.select(
    sa.or_(
        sa.select(TRACKERS.c.name)
        .where(_is_orphan(TRACKERS.c.replica), _RUNS, TRACKERS.c.version <= _VERSION)
        .exists(),
        sa.select(DELIVERIES.c.id)
        .where(_is_orphan(DELIVERIES.c.replica), _PENDING, DELIVERIES.c.version <= _VERSION)
        .exists(),
    )
)


def _left(statement: Any, connection: Connection) -> None:
    connection.execute(statement)
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"NOTIFY {_CHANNEL}, '{_LEFT}'"))
