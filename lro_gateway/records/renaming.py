"""Gives the rows of a backend that has another name now to the present name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from lro_gateway.records.event_schema import EVENTS, SUBSCRIPTIONS, TRACKERS
from lro_gateway.records.schema import APPROVALS, OPERATIONS
from lro_gateway.records.upgrade import hold_lock

logger: Final = logging.getLogger(__name__)

_NAMES: Final = {
    OPERATIONS: OPERATIONS.c.name,
    APPROVALS: APPROVALS.c.operation,
    EVENTS: EVENTS.c.name,
    TRACKERS: TRACKERS.c.name,
    SUBSCRIPTIONS: SUBSCRIPTIONS.c.name,
}
"""The tables with names of backends, and where each has the name of an operation."""


def rename(former: Mapping[str, str], connection: Connection) -> None:
    """Give the rows of each former name to the present one, in the names of operations too.

    It changes nothing if it runs again. Replicas that start together wait for the first of them.
    """
    hold_lock(connection)
    for old, new in former.items():
        _drop_second_trackers(old, new, connection)
        numbers = {
            table.name: connection.execute(
                table.update()
                .where(table.c.backend == old)
                .values({"backend": new, name.name: _renamed(name, old, new)})
            ).rowcount
            for table, name in _NAMES.items()
        }
        if any(numbers.values()):
            moved = ", ".join(f"{number} {table}" for table, number in numbers.items() if number)
            logger.info("backend %r was %r before: the store has moved %s", new, old, moved)


def _renamed(name: ColumnElement[str], old: str, new: str) -> ColumnElement[str]:
    """Return the expression of a name in which `//old/` has become `//new/`."""
    prefix = f"//{old}/"
    rest = sa.func.substr(name, len(prefix) + 1)
    begins = sa.func.substr(name, 1, len(prefix)) == prefix
    return sa.case((begins, sa.literal(f"//{new}/", sa.Text).concat(rest)), else_=name)


def _drop_second_trackers(old: str, new: str, connection: Connection) -> None:
    """Remove the trackers of a former name whose operations the present one tracks already."""
    present = TRACKERS.alias()
    is_twice = sa.exists().where(
        present.c.backend == new, present.c.name == _renamed(TRACKERS.c.name, old, new)
    )
    connection.execute(TRACKERS.delete().where(TRACKERS.c.backend == old, is_twice))
