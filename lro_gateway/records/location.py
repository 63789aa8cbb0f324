"""Where the store is: a file of SQLite, a database of PostgreSQL, or nowhere.

This module imports no database library, because a gateway without a store must not load one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = ("postgresql", "postgres")
_FORMS: Final = (
    'a URL is needed, such as "sqlite:///store.sqlite3", "sqlite:////var/lib/lro-gateway/store.sqlite3"'
    ' or "postgresql://gateway@db.internal/gateway", or "none"'
)


class StoreError(Exception):
    """The store cannot be used. The text says why and what to do, and has no password."""


class StoreFileError(StoreError):
    """Another process uses the file of the store, or this user cannot write it."""


@dataclass(frozen=True, slots=True)
class Location:
    """The place of the store. There is none if both `file` and `dsn` are empty.

    `dsn` is the connection URI of libpq, which may have a password, so it is in no text.
    `source` is the file that has the URL, if the configuration names one. If `is_default`, nobody
    has configured the store, and a gateway that cannot have the file runs without one.
    """

    file: Path | None = None
    dsn: str = field(default="", repr=False)
    source: Path | None = field(default=None, compare=False)
    is_default: bool = field(default=False, compare=False)

    @classmethod
    def parse(cls, url: str, base: Path = Path()) -> Location:
        """Read `none`, `sqlite:///PATH` or `postgresql://...`; raise `ValueError` for other texts.

        A relative path is relative to `base`. No error text has a part of the URL.
        """
        if url == "none":
            return NOWHERE
        if url.startswith(_SQLITE):
            path = url.removeprefix(_SQLITE)
            if not path or path.endswith("/") or path.startswith((":", "~")) or "?" in path:
                raise ValueError(f"the path of a file is needed after {_SQLITE}, without ~ and ?")
            return cls(file=base / path)
        try:
            # libpq checks the rest, because a list of hosts has several ports.
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(_FORMS) from None
        if parts.scheme not in _POSTGRESQL or "://" not in url:
            raise ValueError(_FORMS)
        return cls(dsn=url)

    @property
    def is_nowhere(self) -> bool:
        """Whether there is no store."""
        return self.file is None and not self.dsn

    def __str__(self) -> str:
        """Return a text for logs: the path of the file, or the hosts and the database."""
        if self.file is not None:
            return f"SQLite at {self.file}"
        if not self.dsn:
            return "none"
        parts = urlsplit(self.dsn)
        hosts = parts.netloc.rpartition("@")[2]
        return f"PostgreSQL at {hosts or 'the default address'}{parts.path}"


NOWHERE: Final = Location()
"""The location of a gateway that runs without a store."""
