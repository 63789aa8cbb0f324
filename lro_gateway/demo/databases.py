"""The SQLite files of one directory: their paths, their descriptions, and how to open them."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from google.rpc import code_pb2

from lro_gateway.demo import names
from lro_gateway.demo.refusals import already_exists, not_found, refused
from lro_gateway.demo.v1 import database_admin_pb2 as pb

_SUFFIX = ".sqlite3"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Databases:
    """The databases of a directory, with their backups, their exports and unfinished files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._unfinished = directory / ".unfinished"
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, database_id: str) -> Path:
        """Return the path of a database's file. The file need not exist."""
        return self.directory / f"{database_id}{_SUFFIX}"

    def backup_path(self, database_id: str, backup_id: str) -> Path:
        """Return the path of a backup's file. The file need not exist."""
        return self.directory / "backups" / database_id / f"{backup_id}{_SUFFIX}"

    def export_path(self, database_id: str, file: str) -> Path:
        """Return the path of an exported file. The file need not exist."""
        return self.directory / "exports" / database_id / file

    def require(self, field: str, name: str) -> str:
        """Return the id of an existing database, or raise INVALID_ARGUMENT or NOT_FOUND."""
        database_id = names.database_id(field, name)
        if not self.path(database_id).is_file():
            raise not_found("database", name)
        return database_id

    def require_new(self, database_id: str) -> None:
        """Raise ALREADY_EXISTS if the database exists."""
        if self.path(database_id).exists():
            raise already_exists("database", names.database_name(database_id))

    def require_new_backup(self, database_id: str, backup_id: str) -> None:
        """Raise ALREADY_EXISTS if the backup exists."""
        if self.backup_path(database_id, backup_id).exists():
            raise already_exists("backup", backup_name(database_id, backup_id))

    def ids(self) -> list[str]:
        """Return the ids of all databases, in order."""
        return _ids(self.directory)

    def backup_ids(self, database_id: str) -> list[str]:
        """Return the ids of all backups of a database, in order."""
        return _ids(self.directory / "backups" / database_id)

    def describe(self, database_id: str) -> pb.Database:
        """Describe a database; its state is UNREADABLE if SQLite cannot read it."""
        path = self.path(database_id)
        stat = path.stat()
        database = pb.Database(
            name=names.database_name(database_id),
            state=pb.Database.READY,
            size_bytes=stat.st_size,
            update_time=datetime.fromtimestamp(stat.st_mtime, UTC),
        )
        try:
            with closing(open_to_read(path)) as connection:
                (database.row_count,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError:
            database.state = pb.Database.UNREADABLE
        return database

    def describe_backup(self, database_id: str, backup_id: str) -> pb.Backup:
        """Return the description of a backup."""
        stat = self.backup_path(database_id, backup_id).stat()
        return pb.Backup(
            name=backup_name(database_id, backup_id),
            size_bytes=stat.st_size,
            create_time=datetime.fromtimestamp(stat.st_mtime, UTC),
        )

    @contextmanager
    def unfinished(self, final: Path) -> Iterator[Path]:
        """Yield a path for an unfinished file.

        `publish` moves the file to `final`. The end of the context removes it if it was not moved.
        """
        path = self._unfinished / final.relative_to(self.directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove the files that operations left unfinished when an earlier process ended."""
        shutil.rmtree(self._unfinished, ignore_errors=True)


def publish(path: Path, final: Path) -> None:
    """Move a finished file to its final path in one atomic step."""
    final.parent.mkdir(parents=True, exist_ok=True)
    path.replace(final)


def backup_name(database_id: str, backup_id: str) -> str:
    """Return the name of a backup."""
    return f"{names.database_name(database_id)}/backups/{backup_id}"


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a database read-only, for use by any thread."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a new database without a journal, for use by any thread.

    The file needs no journal, because an unfinished file is removed and never repaired.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def is_damage(error: sqlite3.Error | sqlite3.Warning) -> bool:
    """Return whether SQLite failed because the file is damaged or is not a database."""
    # The low byte of SQLite's error code is the kind of error; the other bytes are details.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


@contextmanager
def damage_is_data_loss(name: str) -> Iterator[None]:
    """Turn SQLite's errors about a damaged file into DATA_LOSS."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        report = pb.DamageReport(
            name=name, problems=[pb.DamageReport.Problem(description=str(error))]
        )
        raise refused(
            code_pb2.DATA_LOSS,
            f"database {name!r} cannot be read: {error}",
            "DATABASE_UNREADABLE",
            report,
            name=name,
        ) from error


def damage(path: Path, *, beyond_opening: bool = False) -> None:
    """Overwrite some rows of a database with zeros.

    If `beyond_opening` is true, overwrite the header instead. SQLite then cannot open the database.
    """
    with closing(open_to_read(path)) as connection:
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    with path.open("r+b") as file:
        if beyond_opening:
            file.write(b"\xff" * 100)
            return
        # SQLite fills a page from its end, so this damages rows and leaves the page header intact.
        for page in range(pages // 2, pages, max(1, pages // 4)):
            file.seek((page + 1) * page_size - 64)
            file.write(bytes(64))


def _ids(directory: Path) -> list[str]:
    found = (path.stem for path in directory.glob(f"*{_SUFFIX}"))
    return sorted(identifier for identifier in found if names.is_id(identifier))
