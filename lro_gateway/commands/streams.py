"""The three standard streams of the process, which a caller may have closed."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

_STANDARD: Final = (0, 1, 2)
_NOT_WRITTEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""The errors of a disk that is full or broken."""


def hold_standard_streams() -> None:
    """Open the null device in place of each standard stream that is closed.

    Otherwise a socket or the file of the store would get the number of the stream. Lines of the log
    would be written into it, and uvloop would abort the process when it closes it.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            # The system gives the lowest number that is free.
            os.open(os.devnull, os.O_RDWR)


def print_every_character() -> None:
    """Print a character as an escape on stdout if the encoding of the locale does not have it.

    This is what Python does on stderr. By default it raises an error on stdout.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def silence(*streams: TextIO) -> None:
    """Discard what is still to be printed, because Python would report it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


@contextmanager
def output_that_may_fail() -> Iterator[None]:
    """End the process with the status 2 if its output cannot be written, as on a full disk.

    The status 1 of a traceback would say that an operation has failed, or that `check` has found a
    problem.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise
        silence(sys.stdout)
        told = f"lro-gateway: the output cannot be written: {error.strerror}"
        with suppress(OSError):
            # The console of the other messages takes a tenth of a second to import.
            print(told, file=sys.stderr)  # noqa: T201
        sys.exit(2)
