"""Connections to PostgreSQL, which libpq opens from a connection URI with its usual defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lro_gateway.records.entries import storable
from lro_gateway.records.importing import imported
from lro_gateway.records.location import StoreError

_NOT_INSTALLED: Final = (
    "the driver of PostgreSQL is not installed; install lro-gateway[postgresql], for example by"
    " pip install 'lro-gateway[postgresql]'"
)
_SESSION: Final = (
    "SET TIME ZONE 'UTC';"
    # The locks of a process that was stopped in a transaction would stop all the others.
    " SET idle_in_transaction_session_timeout = '3s'"
)
_DEFAULTS: Final = {
    "connect_timeout": 5,
    # Without this, a transaction would wait for minutes for a server that has vanished.
    "tcp_user_timeout": 10_000,
    "application_name": "lro-gateway",
}
"""The parameters of a connection unless the URI sets them. Times are in seconds and in ms."""


def connect_to_postgresql(dsn: str) -> Callable[[], Any]:
    """Return a function that opens a connection.

    Raises `StoreError` if the URI has a mistake, or if the driver is not installed.
    """
    try:
        psycopg: Any = imported("psycopg")
    except ImportError:
        raise StoreError(_NOT_INSTALLED) from None
    try:
        given = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        # The message of libpq may quote the URI, which may have a password.
        raise StoreError("store.url is not a connection URI that PostgreSQL knows") from None
    parameters = {**_DEFAULTS, **given, "context": _adapters(psycopg)}

    def connect() -> Any:
        connection = psycopg.connect(**parameters)
        connection.execute(_SESSION)
        connection.commit()
        return connection

    return connect


def _adapters(psycopg: Any) -> Any:
    """Return how values are sent: any text can be sent, also the id or the word of a caller."""
    adapters = psycopg.adapt.AdaptersMap(psycopg.adapters)
    types = imported("psycopg.types.string")
    # The last one is the default, as it is without these.
    for kind in (types.StrBinaryDumper, types.StrDumperUnknown):
        adapters.register_dumper(str, type(kind.__name__, (kind,), {"dump": _dump}))
    return adapters


def _dump(self: Any, text: str) -> bytes:
    encoded: bytes = storable(text).encode(self._encoding)
    return encoded
