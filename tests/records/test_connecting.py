"""Connections to PostgreSQL."""

from __future__ import annotations

import sys

import pytest

from lro_gateway.records.connecting import connect_to_postgresql
from lro_gateway.records.location import StoreError
from tests.postgresql import PostgreSql


def test_the_uri_sets_what_it_names(server: PostgreSql) -> None:
    """The gateway's own parameters are defaults, and times are in UTC."""
    connect = connect_to_postgresql(f"{server.dsn()}&application_name=replica-1")
    with connect() as connection:
        shown = [
            connection.execute(f"SHOW {name}").fetchone()[0]
            for name in ("application_name", "TimeZone", "idle_in_transaction_session_timeout")
        ]
    assert shown == ["replica-1", "UTC", "3s"]


def test_every_text_can_be_sent(server: PostgreSql) -> None:
    """Callers may send a NUL in an id, and PostgreSQL has none."""
    with connect_to_postgresql(server.dsn())() as connection:
        for form in ("%s::text", "%t::text", "%b::text"):
            found = connection.execute(f"SELECT {form}", ["a\0b\u00e9"]).fetchone()
            assert found == ("a\ufffdb\u00e9",)


def test_a_mistake_in_the_uri_is_reported_without_it() -> None:
    """The message of libpq quotes the URI, and the URI may have a password."""
    with pytest.raises(StoreError) as caught:
        connect_to_postgresql("postgresql://gateway:hunter2@db.internal/records?sslmod=require")
    assert "hunter2" not in f"{caught.value} {caught.value.__context__}"


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is an extra, because most gateways use SQLite."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"install lro-gateway\[postgresql\]"):
        connect_to_postgresql("postgresql://db.internal/records")
