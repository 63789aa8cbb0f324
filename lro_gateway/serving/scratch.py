"""Directories that last as long as a process, and that a killed process does not leave for ever."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "lro-gateway-run-"
"""The begin of the names of these directories, and of no others."""
_SHORT: Final = Path("/tmp")  # noqa: S108 - mkdtemp makes a name there that nobody can guess


@contextmanager
def scratch_directory(longest: int | None = None) -> Iterator[Path]:
    """Make a directory that only this user can enter, and remove it when the context ends.

    What killed processes of this user have left is removed first. If the path would have more than
    `longest` bytes, the directory is in `/tmp` instead of the user's place. Raises `OSError`.
    """
    place = Path(tempfile.gettempdir())
    if longest is not None and len(os.fsencode(place / f"{_PREFIX}12345678")) > longest:
        place = _SHORT
    _remove_what_nobody_holds(place)
    directory, descriptor = _made(place)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(descriptor)


def hold(directory: Path) -> None:
    """Keep a scratch directory until this process ends, although the process that made it ends."""
    fcntl.flock(_opened(directory), fcntl.LOCK_SH)


def _made(place: Path) -> tuple[Path, int]:
    """Make a directory; return it, and the descriptor that holds it until the process ends."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        # Another process may remove the directory until it is held.
        with suppress(FileNotFoundError):
            descriptor = _opened(directory)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if directory.exists():
                return directory, descriptor
            os.close(descriptor)


def _remove_what_nobody_holds(place: Path) -> None:
    for directory in place.glob(f"{_PREFIX}*"):
        # Another process may remove it at this moment.
        with suppress(OSError):
            descriptor = _opened(directory)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_uid == os.geteuid():
                    shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(descriptor)


def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
