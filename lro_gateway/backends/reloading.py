"""Contents of files that change while the gateway runs, such as certificates that are renewed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Generic, TypeVar

logger: Final = logging.getLogger(__name__)

_Contents = TypeVar("_Contents")
INTERVAL: Final = 5.0
"""Seconds between two looks at the files."""

Versions = tuple[tuple[int, ...] | None, ...]
"""The size and time of each file, by which a change is noticed; None if a file does not exist."""


def versions_of(files: Iterable[Path]) -> Versions:
    """Return the versions of files. A link counts as the file to which it leads."""
    return tuple(map(_version, files))


def _version(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Reloaded(Generic[_Contents]):
    """The contents of the TLS files of `owner`, which are read again when the files change.

    `read` raises `ValueError` if a file cannot be used. `current` then stays, and the log says why.
    """

    def __init__(self, owner: str, files: Iterable[Path], read: Callable[[], _Contents]) -> None:
        """Read the files. Raises `ValueError` if one of them cannot be used."""
        self._owner = owner
        self._files = tuple(files)
        self._read = read
        self._versions = versions_of(self._files)
        self.current = read()

    async def refresh(self) -> bool:
        """Look at the files, and return whether the contents are new."""
        versions = await asyncio.to_thread(versions_of, self._files)
        if versions == self._versions:
            return False
        self._versions = versions
        try:
            contents = await asyncio.to_thread(self._read)
        except ValueError as error:
            logger.warning("%s: its changed TLS files are not used: %s", self._owner, error)
            return False
        if contents == self.current:
            return False
        self.current = contents
        logger.info("%s: new connections use its changed TLS files", self._owner)
        return True
