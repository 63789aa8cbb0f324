"""Writes the log by a thread, so that a reader of the log that stalls does not stop the gateway."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from contextlib import suppress
from typing import Final

from lro_gateway.serving.log_limit import RepeatLimit

MAX_WAITING: Final = 4 * 1024 * 1024
"""The number of bytes that may wait for a slow reader. Lines beyond them are dropped."""

_FLUSH_LIMIT: Final = 1.0
"""Seconds that the end of the process waits for a slow reader."""
_GATHERING: Final = 0.005
"""Seconds in which further lines may follow the first one, and are written together with it.

Measured: if the thread wakes for each line, a line costs a start a fifth of its time.
"""
_SWEEP: Final = 1.0
"""Seconds between two looks for windows of repeated lines that have passed."""


class LogWriter(logging.Handler):
    """Hands lines to a thread that writes them to a file descriptor. No call of it waits.

    If more than `MAX_WAITING` bytes wait, further lines are dropped, and a line tells their number
    as soon as the reader goes on. If the reader has gone, the lines are discarded.
    """

    def __init__(self, descriptor: int, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._limit = RepeatLimit()
        self.addFilter(self._limit)
        self.descriptor = descriptor
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._untold = 0
        self._closing = threading.Event()
        self.dropped = 0
        # A thread that waits for a reader must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Add the line of a record to those that wait."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        except Exception:  # noqa: BLE001 - a mistake in a record must not end the code that logs it
            line = f"a record of {record.name} cannot be formatted: {record.msg!r}\n".encode()
        with self._changed:
            if self._waiting + len(line) > MAX_WAITING:
                self.dropped += 1
                self._untold += 1
                return
            self._lines.append(line)
            self._waiting += len(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all lines are written, for at most a second."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, _FLUSH_LIMIT)

    def close(self) -> None:
        """Write what waits, for at most a second. The end of the process calls this."""
        for record in self._limit.ended(every=True):
            self.emit(record)
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        self._thread.join(_FLUSH_LIMIT)
        super().close()

    def _run(self) -> None:
        while (lines := self._next()) is not None:
            if lines:
                # If the reader has gone, nobody can be told.
                with suppress(OSError):
                    self._write(lines)
                with self._changed:
                    self._waiting -= len(lines)
                    self._changed.notify_all()
            self._tell()

    def _next(self) -> bytes | None:
        """Wait for lines. Return no bytes after `_SWEEP` seconds, and None at the end."""
        with self._changed:
            if not self._lines and not self._closing.is_set():
                self._changed.wait(_SWEEP if self._limit.has_windows else None)
            if not self._lines:
                return None if self._closing.is_set() else b""
        self._closing.wait(_GATHERING)
        with self._changed:
            lines = b"".join(self._lines)
            self._lines.clear()
        return lines

    def _tell(self) -> None:
        """Log how many lines were dropped, and how many were like earlier ones."""
        with self._changed:
            untold = self._untold if not self._lines else 0
            self._untold -= untold
        # `emit` is called directly, because the end of the process holds the lock of the handler.
        if untold:
            self.emit(_dropped(untold))
        for record in self._limit.ended():
            self.emit(record)

    def _write(self, lines: bytes) -> None:
        """Write whole lines, although the descriptor may not block."""
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self.descriptor], [])


def _dropped(count: int) -> logging.LogRecord:
    text = f"{count} lines of the log were dropped, because its reader is slow"
    level = logging.WARNING
    return logging.makeLogRecord(
        {"name": __name__, "levelno": level, "levelname": "WARNING", "msg": text}
    )
