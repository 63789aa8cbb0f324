"""Queries for the newest rows of one owner, by an index whose last column is the id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

_NO_SORT: Final = "SET LOCAL enable_sort = off"
AFTER_ALL: Final = "z"
"""A text that is greater than each id."""


def read_in_order(connection: sa.Connection) -> None:
    """Let this transaction read many of the newest rows by an index, whatever the table has.

    PostgreSQL does not know how few rows of a table that was never analyzed belong to an owner, and
    would read all of them to sort those. Measured on a busy machine with 200,000 rows: a search
    takes 2.7 s, and 0.2 s so.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_NO_SORT)


def newest_first(
    rows: sa.Select[Any],
    key: Sequence[sa.ColumnElement[Any]],
    values: Sequence[str],
    *,
    lowest: str = "",
    before: str = "",
) -> sa.Select[Any]:
    """Select the rows with these values from the newest one down to the id `lowest`.

    `key` are the columns of an index, and the last one is the id. They begin after the id
    `before`, if it is not empty.
    """
    # With equality, PostgreSQL may read the rows of everybody from the newest one, in the order of
    # the primary key, because it does not know that those with these values are old.
    columns = sa.tuple_(*key)
    rows = rows.where(columns >= sa.tuple_(*values, lowest))
    rows = rows.where(columns < sa.tuple_(*values, before or AFTER_ALL))
    return rows.order_by(*(each.desc() for each in key))
