"""Where the store is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lro_gateway.records.location import NOWHERE, Location

_URL = "postgresql://gateway:s3cret@db.internal:5432,other/records?password=s3cret2&sslmode=require"


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///store.sqlite3", Path("/etc/lro/store.sqlite3")),
        ("sqlite:////var/lib/lro/store.sqlite3", Path("/var/lib/lro/store.sqlite3")),
    ],
)
def test_a_path_is_relative_to_the_configuration(url: str, file: Path) -> None:
    """A fourth slash makes it absolute, as in SQLAlchemy's URLs."""
    location = Location.parse(url, Path("/etc/lro"))
    assert (location.file, str(location)) == (file, f"SQLite at {file}")


def test_none_is_no_store() -> None:
    """An operator turns the store off by the word."""
    assert Location.parse("none") is NOWHERE
    assert NOWHERE.is_nowhere
    assert str(NOWHERE) == "none"


@pytest.mark.parametrize(
    "url",
    [
        *("", "sqlite", "sqlite:///", "sqlite:///:memory:", "sqlite:///a?mode=ro", "sqlite:///a/"),
        *("mysql://h/d", "postgresql:", "store.sqlite3", "postgresql://u:hunter2@[::1/d"),
        *("postgresql+asyncpg://u:hunter2@h/d", "sqlite:///~/store.sqlite3"),
    ],
)
def test_another_text_is_refused_without_a_part_of_it(url: str) -> None:
    """The text may have a password, so no error repeats it."""
    with pytest.raises(ValueError, match="is needed") as caught:
        Location.parse(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://gateway:s3cret@db.internal/records", "PostgreSQL at db.internal/records"),
        ("postgres:///records", "PostgreSQL at the default address/records"),
    ],
)
def test_a_location_is_shown_without_user_and_password(url: str, shown: str) -> None:
    """The password may be in two places of a URI."""
    location = Location.parse(url)
    assert str(location) == shown
    assert "s3cret" not in repr(location)


def test_several_hosts_are_accepted() -> None:
    """A host list of libpq is no mistake, although a URL has one host and one port."""
    location = Location.parse(_URL)
    assert str(location) == "PostgreSQL at db.internal:5432,other/records"
    assert "s3cret" not in f"{location} {location!r}"
