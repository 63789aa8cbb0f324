"""Files that several processes share for a while: the workers of one address."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

OWNER_END: Final = "."
"""The character between the owner in the name of a file and the rest of the name."""


class Spool:
    """Named bytes in a directory, for at most `seconds`, and of at most `limit` bytes in all.

    If there are too many bytes, the oldest files go. Several processes can use one directory. Only
    the user of these processes can read the files. The methods block, so call them in a thread.
    """

    def __init__(self, directory: Path, limit: int, seconds: float) -> None:
        self._directory = directory
        self._limit = limit
        self._seconds = seconds

    def write(self, name: str, content: bytes, share: int | None = None) -> None:
        """Store bytes under a new name that is safe as the name of a file. Raises `OSError`.

        With a `share`, the files of the owner that the name begins with have at most so many bytes.
        """
        if share is not None:
            self._make_room(share - len(content), f"{name.partition(OWNER_END)[0]}{OWNER_END}")
        self._make_room(self._limit - len(content))
        descriptor = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a name, or None if there are none or they are too old."""
        with suppress(FileNotFoundError):
            path = self._directory / name
            if time.time() - path.stat().st_mtime <= self._seconds:
                return path.read_bytes()
        return None

    def _make_room(self, kept: int, owner: str = "") -> None:
        """Remove files that are too old, and the oldest ones until at most `kept` bytes are left.

        With an `owner`, only its files count and are removed.
        """
        for modified, length, path in sorted(self._files(owner), reverse=True):
            kept -= length
            if kept < 0 or time.time() - modified > self._seconds:
                path.unlink(missing_ok=True)

    def _files(self, owner: str) -> Iterator[tuple[float, int, Path]]:
        for path in self._directory.iterdir():
            if not path.name.startswith(owner):
                continue
            # Another process may remove the file at the same time.
            with suppress(FileNotFoundError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path
