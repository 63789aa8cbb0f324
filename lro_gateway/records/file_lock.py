"""A lock that one process holds, so that a file of SQLite belongs to one gateway at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lro_gateway.records.location import StoreFileError


@contextmanager
def file_lock(file: Path) -> Iterator[None]:
    """Hold the lock of a database file; raise `StoreFileError` if another process holds it.

    The lock is on a file beside the database, because SQLite's own locks on the database end when
    any descriptor of it is closed. All paths to the database through symbolic links have one lock.
    The system releases the lock when the process ends, even after SIGKILL. The file of the lock
    stays.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite follows the links too, and has its write-ahead log beside the real file.
        descriptor = os.open(f"{file.resolve()}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(file, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(file, os.pread(descriptor, 20, 0)) from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            # The database has what callers send, so only its owner may read it.
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise _unusable(file, error) from error
        yield
    finally:
        os.close(descriptor)


def _taken(file: Path, holder: bytes) -> StoreFileError:
    process = holder.decode("ascii", "replace")
    return StoreFileError(
        f"another process{f' (pid {process})' if process.isdigit() else ''} uses the store {file},"
        " and a file of SQLite belongs to one process at a time; stop that process, give this one"
        ' another store.url, or share a PostgreSQL database; store.url = "none" runs without a'
        " store"
    )


def _unusable(file: Path, error: OSError) -> StoreFileError:
    return StoreFileError(
        f"the store {file} cannot be opened: {error.strerror or error}; give store.url the path of"
        ' a file that this user can write, or "none" to run without a store'
    )
