"""The tables, and the versions of their schema."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TextClause,
    TypeDecorator,
    event,
    text,
)
from sqlalchemy.types import TypeEngine, UserDefinedType

from lro_gateway.records.importing import imported

REVISIONS: Final = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
)
"""All versions of the schema, the oldest first. Each is a revision in `migrations/versions`."""


class _TimeText(UserDefinedType[str]):
    """The type of a time in SQLite, which keeps it as a text.

    SQLAlchemy's own type of it takes 10 us to write a time, and there are four in a start's row.
    """

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        """Return the name of the type in the statement that makes a table."""
        return "DATETIME"


class UtcTime(TypeDecorator[dt.datetime]):
    """A time in UTC. PostgreSQL has a time zone beside it, and SQLite has a text without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type in a database."""
        return self.impl_instance if dialect.name == "postgresql" else _TimeText()

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:
        """Convert a time of any zone to UTC, as the database takes it."""
        if value is None:
            return None
        in_utc = value.astimezone(dt.UTC)
        if dialect.name == "postgresql":
            return in_utc
        return in_utc.replace(tzinfo=None).isoformat(" ", "microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> dt.datetime | None:
        """Return the time in UTC."""
        if value is None:
            return None
        if dialect.name == "postgresql":
            time: dt.datetime = value.astimezone(dt.UTC)
            return time
        return dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC)


METADATA: Final = MetaData()


def insert_into(dialect: str, table: Table) -> Any:
    """Return an INSERT that knows ON CONFLICT."""
    # Only this dialect is imported, because the other one would take 2 MB and 0.1 s.
    module: Any = imported(f"sqlalchemy.dialects.{dialect}")
    return module.insert(table)


def partial_index(
    name: str, condition: ColumnElement[bool] | TextClause, *columns: Column[Any]
) -> None:
    """Add an index of the rows for which a condition holds."""
    index = Index(name, *columns)

    def set_condition(_: object, connection: Connection, **_options: object) -> None:
        index.dialect_options[connection.dialect.name]["where"] = condition

    # An argument such as `postgresql_where` would import that dialect, which takes 2 MB and 0.1 s,
    # into every process that uses SQLite.
    event.listen(METADATA, "before_create", set_condition)


def of_sqlite(table: Table, **options: bool) -> None:
    """Set options that a table has only in SQLite, without their prefix."""

    def set_options(_: object, connection: Connection, **_options: object) -> None:
        if connection.dialect.name == "sqlite":
            table.dialect_options["sqlite"].update(options)

    # As arguments of the table, they would import the dialect of SQLite into every process.
    event.listen(METADATA, "before_create", set_options)


OPERATIONS: Final = Table(
    "operations",
    METADATA,
    # A UUID of version 7 in hexadecimal digits: the order of the ids is the order of the starts.
    Column("id", String(32), primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("backend", Text, nullable=False),
    # The gateway's canonical name, which is NULL until the backend has answered the start.
    Column("name", Text),
    Column("method", Text, nullable=False),
    Column("request_digest", String(64), nullable=False),
    Column("request", Text),
    Column("state", String(16), nullable=False),
    Column("percent", Double),
    Column("started", UtcTime, nullable=False),
    # The time by which the call of the method has ended, with an answer or without.
    Column("answer_by", UtcTime, nullable=False),
    Column("changed", UtcTime, nullable=False),
    Column("seen", UtcTime, nullable=False),
    Column("finished", UtcTime),
    Column("code", Integer),
    Column("message", Text),
)
"""One row for each operation that a caller has started, may have started, or has subscribed to.

The method of the last kind is empty.
"""
# Rows are in the order of their ids, without a second tree for the primary key.
of_sqlite(OPERATIONS, with_rowid=False)

IDEMPOTENCY_KEYS: Final = Table(
    "idempotency_keys",
    METADATA,
    # The SHA-256 of the key and its owner.
    Column("digest", String(64), primary_key=True),
    # The id of the start in the table of operations, which may have removed it.
    Column("start", String(32), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("request_id", Text, nullable=False),
    Column("expires", UtcTime, nullable=False),
)
"""One row for each idempotency key that a caller has given."""
of_sqlite(IDEMPOTENCY_KEYS, with_rowid=False)
Index("idempotency_keys_expired", IDEMPOTENCY_KEYS.c.expires)

RATES: Final = Table(
    "rates",
    METADATA,
    # The SHA-256 of a verb and a caller.
    Column("key", String(64), primary_key=True),
    # When the caller will have all tokens again, in seconds since the epoch.
    Column("full_at", Double, nullable=False),
)
"""One row for each token bucket that replicas share."""
of_sqlite(RATES, with_rowid=False)
Index("rates_full", RATES.c.full_at)

_COLUMNS: Final = OPERATIONS.c
_OWNER: Final = (_COLUMNS.subject, _COLUMNS.issuer, _COLUMNS.tenant, _COLUMNS.id)
_UNFINISHED: Final = _COLUMNS.finished.is_(None)
_HAS_TENANT: Final = _COLUMNS.tenant != ""

Index("operations_of_owner", *_OWNER)
partial_index("operations_of_tenant", _HAS_TENANT, _COLUMNS.tenant, _COLUMNS.id)
# Starts without a name are in it too. They are read when nobody knows whose an operation is.
Index("operations_by_name", _COLUMNS.backend, _COLUMNS.name)
partial_index("operations_unfinished", _UNFINISHED, *_OWNER)
partial_index(
    "operations_succeeded",
    text("state = 'succeeded'"),
    *(_COLUMNS.backend, _COLUMNS.method, _COLUMNS.id),
)

ARCHIVE: Final = Table(
    "archive",
    METADATA,
    # The id of the operation's row. The rows are in a table of their own, because they are long.
    Column("id", String(32), primary_key=True),
    # A digest of the credentials and headers that the backend got from the caller that saw the end,
    # or an empty text.
    Column("view", String(64), primary_key=True),
    Column("message", LargeBinary, nullable=False),
    Column("json", LargeBinary, nullable=False),
    # The number of bytes that were too large for a copy.
    Column("omitted", Integer, nullable=False),
    Column("archived", UtcTime, nullable=False),
)
"""The final states of operations, as their backends answered them."""

Index("archive_by_time", ARCHIVE.c.archived)

APPROVALS: Final = Table(
    "approvals",
    METADATA,
    # A UUID of version 7, as for an operation.
    Column("id", String(32), primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    # The client, the groups and the scopes of the caller, as JSON.
    Column("claims", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("method", Text, nullable=False),
    # The request, which must be sent later. It is sealed if the gateway has keys.
    Column("request", Text, nullable=False),
    Column("needs_caller", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime, nullable=False),
    Column("decided", UtcTime),
    # The issuer, subject, tenant and client of the caller that decided, as JSON.
    Column("decider", Text),
    Column("reason", Text, nullable=False),
    Column("answer_by", UtcTime),
    Column("operation", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    # The mark of the transaction that set the state.
    Column("mark", String(32)),
)
"""One row for each call that waits, or has waited, for an approval."""
of_sqlite(APPROVALS, with_rowid=False)

_ASKED: Final = APPROVALS.c
Index("approvals_of_caller", _ASKED.subject, _ASKED.issuer, _ASKED.tenant, _ASKED.id)
Index("approvals_by_state", _ASKED.state, _ASKED.expires)
