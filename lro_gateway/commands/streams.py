"""The three standard streams of the process, which a caller may have closed."""

from __future__ import annotations

import io
import os
import sys
from typing import Final

_STANDARD: Final = (0, 1, 2)


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
