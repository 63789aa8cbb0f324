"""The replicas that read watched operations, and their messages, in PostgreSQL."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import ARRAY

from lro_gateway.records.database import Database
from lro_gateway.records.event_schema import LEADS, REPLICAS
from lro_gateway.records.schema import insert_into
from lro_gateway.records.sweeper import Expiring

_C: Final = LEADS.c
_CHANNEL: Final = "lro_gateway_states"
_LARGEST: Final = 5_500
"""The size in bytes of a state that fits into a NOTIFY, which takes 8,000 bytes of text."""
# Within ON CONFLICT, SQLAlchemy does not correlate a subquery that has the column of the lead.
_IS_ORPHAN: Final = _C.replica.not_in(sa.select(REPLICAS.c.id))

# Statements that are made once and take an array. Measured with 10,000 keys: statements with a
# value for each key took 50 MB, which stayed in the process.
_REPLICA: Final = sa.bindparam("of_replica", type_=sa.Text)
_KEYS: Final = sa.bindparam("keys", type_=ARRAY(sa.Text))
_IS_GIVEN: Final = _C.key == sa.any_(_KEYS)
_CLAIM: Final = (
    insert_into("postgresql", LEADS)
    .from_select(["key", "replica"], sa.select(sa.func.unnest(_KEYS), _REPLICA))
    .on_conflict_do_update(
        index_elements=["key"],
        set_={"replica": _REPLICA},
        where=(_C.replica == _REPLICA) | _IS_ORPHAN,
    )
    .returning(_C.key)
)
_LED: Final = sa.select(_C.key, _C.replica).where(_IS_GIVEN)
_LEAVE: Final = LEADS.delete().where(_IS_GIVEN, _C.replica == _REPLICA).returning(_C.key)


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of a replica about a watched operation. Without a key, some may have been missed.

    `kind` is `ask` or `hurry` if a replica wants to know the states, `told` with a state, `left` if
    nobody reads the operation any more, or `ended` if a replica that does not watch it has read its
    end. A state that is too large is empty.
    """

    kind: str = ""
    key: str = ""
    replica: str = ""
    message: bytes = b""


class SqlLeads:
    """The leads of one database. `replica` is the id of this process."""

    def __init__(self, database: Database, replica: str) -> None:
        self._database = database
        self.replica = replica

    async def listen(self, heard: Callable[[Notice], None]) -> None:
        """Call `heard` with each notice of any replica, for ever."""
        await self._database.listen(_CHANNEL, lambda payload: heard(_parsed(payload)))

    async def claim(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        """Lead operations unless other running replicas do; return who leads each of the keys.

        The others are asked for their states, with the kinds of notices that are `wanted`.
        """
        return await self._database.write(partial(self._claim, wanted))

    def _claim(self, wanted: Mapping[str, str], connection: Connection) -> Mapping[str, str]:
        # All replicas lock rows in this order, so that no two of them wait for each other.
        keys = sorted(wanted)
        claim = {"keys": keys, "of_replica": self.replica}
        own = set(connection.execute(_CLAIM, claim).scalars())
        others = [key for key in keys if key not in own]
        found = {}
        if others:
            rows = connection.execute(_LED, {"keys": others})
            found = {row.key: row.replica for row in rows}
            for key in others:
                self._notify(connection, wanted[key], key)
        return {key: self.replica if key in own else found.get(key, "") for key in keys}

    async def tell(self, key: str, message: bytes) -> bool:
        """Tell the others a state; return False if another replica leads."""
        return await self._database.write(partial(self._tell, key, message))

    def _tell(self, key: str, message: bytes, connection: Connection) -> bool:
        is_own = (_C.key == key) & (_C.replica == self.replica)
        if connection.scalar(sa.select(_C.key).where(is_own)) is None:
            return False
        text = base64.b64encode(message).decode() if len(message) <= _LARGEST else ""
        self._notify(connection, "told", key, text)
        return True

    async def end(self, keys: Collection[str]) -> None:
        """Tell the replicas that lead operations that these have ended."""
        await self._database.write(partial(self._end, keys), may_wait=True)

    def _end(self, keys: Collection[str], connection: Connection) -> None:
        for row in connection.execute(_LED, {"keys": sorted(keys)}):
            if row.replica != self.replica:
                self._notify(connection, "ended", row.key)

    async def leave(self, keys: Collection[str]) -> None:
        """Let other replicas lead."""
        await self._database.write(partial(self._leave, keys))

    def _leave(self, keys: Collection[str], connection: Connection) -> None:
        given = {"keys": sorted(keys), "of_replica": self.replica}
        for key in [*connection.execute(_LEAVE, given).scalars()]:
            self._notify(connection, "left", key)

    async def running(self) -> frozenset[str]:
        """Return the ids of the replicas that run."""
        query = sa.select(REPLICAS.c.id)
        return await self._database.read(
            lambda connection: frozenset(connection.execute(query).scalars())
        )

    def _notify(self, connection: Connection, *parts: str) -> None:
        payload = " ".join([*parts[:2], self.replica, *parts[2:]])
        connection.execute(sa.select(sa.func.pg_notify(_CHANNEL, payload)))


def _parsed(payload: str) -> Notice:
    kind, key, replica, text = [*payload.split(" "), "", "", ""][:4]
    return Notice(kind, key, replica, base64.b64decode(text))


def expiring() -> Sequence[Expiring]:
    """Return what the sweeper deletes: the leads of replicas that no longer run."""
    return (Expiring(LEADS, lambda _, _time: _IS_ORPHAN),)
