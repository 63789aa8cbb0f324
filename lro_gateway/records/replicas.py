"""Which of the processes that share a database run, and who takes over from those that do not.

A process alone with its file of SQLite takes over everything when it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.records.database import Database
from lro_gateway.records.event_entries import Tracked
from lro_gateway.records.event_rows import tracked_of
from lro_gateway.records.event_schema import DELIVERIES, REPLICAS, TRACKERS

BEAT: Final = 2.0
"""Seconds between two beats."""
_DEAD_AFTER: Final = 8.0
"""Seconds without a beat after which a process counts as dead."""
_NOW: Final = sa.func.statement_timestamp()
"""The clock of the database, because the clocks of replicas differ."""
_RUNS: Final = TRACKERS.c.finished.is_(None)
_PENDING: Final = DELIVERIES.c.state == "pending"


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process has to go on with: operations to follow, and ids of deliveries.

    If it `was_dead`, this is all that it has, and it must leave everything else to others.
    """

    tracked: list[Tracked]
    deliveries: list[str]
    was_dead: bool = False


class SqlReplicas:
    """The processes of one database. `replica` is the id of this one."""

    def __init__(self, database: Database, replica: str) -> None:
        self._database = database
        self._replica = replica
        self.is_shared = database.dialect == "postgresql"
        self._has_begun = False

    async def listen(self, told: Callable[[], None]) -> None:
        """Call `told` after each event that any process has written, for ever."""
        await self._database.listen("lro_gateway_events", told)

    async def take_all(self) -> Taken:
        """Take over everything, because no other process can use the database."""
        return await self._database.write(partial(self._take, None))

    async def beat(self) -> Taken:
        """Show that this process runs, and take over from those that do not.

        Only one process takes over from another, because it deletes its row. If this process has
        counted as dead itself, it goes on with nothing that others have taken.
        """
        taken = await self._database.write(self._beat)
        self._has_begun = True
        return taken

    async def leave(self) -> None:
        """Let the others take over at once."""
        delete = REPLICAS.delete().where(REPLICAS.c.id == self._replica)
        orphaned = {"replica": ""}
        updates = (
            TRACKERS.update().where(TRACKERS.c.replica == self._replica, _RUNS).values(orphaned),
            DELIVERIES.update()
            .where(DELIVERIES.c.replica == self._replica, _PENDING)
            .values(orphaned),
        )

        def work(connection: Connection) -> None:
            for each in (delete, *updates):
                connection.execute(each)

        await self._database.write(work)

    def _beat(self, connection: Connection) -> Taken:
        own = REPLICAS.c.id == self._replica
        is_new = not connection.execute(REPLICAS.update().where(own).values(beat=_NOW)).rowcount
        if is_new:
            connection.execute(REPLICAS.insert().values(id=self._replica, beat=_NOW))
        limit = _NOW - sa.func.make_interval(0, 0, 0, 0, 0, 0, _DEAD_AFTER)
        dead = connection.execute(
            REPLICAS.delete().where(REPLICAS.c.beat < limit).returning(REPLICAS.c.id)
        ).scalars()
        was_dead = is_new and self._has_begun
        # What a process has left has no replica.
        taken = self._take(["", *dead, *([self._replica] if was_dead else [])], connection)
        return replace(taken, was_dead=was_dead)

    def _take(self, replicas: list[str] | None, connection: Connection) -> Taken:
        """Take over from some processes, or from all."""

        def of(column: Any) -> Any:
            return sa.true() if replicas is None else column.in_(replicas)

        tracked = connection.execute(
            TRACKERS.update()
            .where(of(TRACKERS.c.replica), _RUNS)
            .values(replica=self._replica)
            .returning(TRACKERS)
        ).all()
        deliveries = connection.execute(
            DELIVERIES.update()
            .where(of(DELIVERIES.c.replica), _PENDING)
            .values(replica=self._replica)
            .returning(DELIVERIES.c.id)
        ).scalars()
        return Taken([tracked_of(row) for row in tracked], [*deliveries])
