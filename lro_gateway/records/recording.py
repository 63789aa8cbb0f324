"""The two writes of a start: its row before the call, and what the answer of the call tells.

On PostgreSQL both are rows of one statement, so a batch of starts is one statement, which needs no
transaction around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Executable

from lro_gateway.records import statements
from lro_gateway.records.batches import Write
from lro_gateway.records.entries import EntryState, Knowledge, Start
from lro_gateway.records.prepared import rows_of_json
from lro_gateway.records.schema import ARCHIVE, OPERATIONS, insert_into

_COPIED: Final = ("view", "message", "json", "omitted", "archived")
_COPY: Final = "copy_"
"""The first part of the names of the values that a row has for the archive."""


class Recording:
    """Makes the writes of starts for one dialect."""

    def __init__(self, dialect: str) -> None:
        self._insert = statements.insert(dialect)
        self._record = _record(dialect) if dialect == "postgresql" else None

    def begun(self, start: Start) -> Write:
        """Return the write of a start that has no answer yet."""
        insert = self._insert if self._record is None else self._record
        return insert, statements.start_row(start)

    def answered(
        self, start: Start, knowledge: Knowledge, copies: Sequence[Write]
    ) -> Sequence[Write]:
        """Return the writes of an answer. `copies` are those for the archive: one, or none."""
        known = statements.known_row(start.id, knowledge)
        # A repeat with the same key removes the row of a start, which must not come back.
        if self._record is None or start.key is not None:
            return [(statements.SETTLE, known), *copies]
        copied = {_COPY + name: row[name] for _, row in copies for name in _COPIED}
        return [(self._record, {**statements.start_row(start), **known, **copied})]


def _record(dialect: str) -> Executable:
    """Return the statement that inserts starts, or writes what is known of those that are there.

    A start that is there already, and whose row has no answer, stays as it is. A join with the
    table by ids would be planned for the few rows that it has at first, and would read all of them
    later.
    """
    of_archive = [sa.column(_COPY + name, ARCHIVE.c[name].type) for name in _COPIED]
    names = (*statements.STARTED, *statements.ANSWERED)
    given = sa.select(*rows_of_json([*(OPERATIONS.c[name] for name in names), *of_archive]))
    rows = given.cte("given")
    insert = insert_into(dialect, OPERATIONS)
    is_answered = insert.excluded.state != sa.literal_column(f"'{EntryState.STARTING.value}'")
    written = insert.from_select(
        names, sa.select(*(rows.c[name] for name in names))
    ).on_conflict_do_update(
        index_elements=["id"],
        set_={name: insert.excluded[name] for name in statements.KNOWN},
        where=is_answered,
    )
    copied = sa.select(rows.c.id, *(rows.c[each.name] for each in of_archive))
    statement: Executable = (
        insert_into(dialect, ARCHIVE)
        .from_select(["id", *_COPIED], copied.where(rows.c[f"{_COPY}view"].is_not(None)))
        .on_conflict_do_nothing(index_elements=["id", "view"])
        .add_cte(written.cte("written"))
    )
    return statement
