"""Writes the log by a thread, so that a reader of the log that stalls does not stop the gateway."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from lro_gateway.serving.log_limit import RepeatLimit

MAX_WAITING: Final = 4 * 1024 * 1024
"""The number of bytes that may wait for a slow reader. Lines beyond them are dropped."""

_FLUSH_LIMIT: Final = 1.0
"""Seconds that the end of the process waits for a slow reader."""
_GATHERING: Final = 0.01
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
        self._queue: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        """Lines, events to set when the lines before them are written, and None at the end."""
        self._queued = 0
        self._written = 0
        self.dropped = 0
        self._told = 0
        # A thread that waits for a reader must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Add the line of a record to those that wait."""
        line = self._line(record)
        if self._queued - self._written + len(line) > MAX_WAITING:
            self.dropped += 1
            return
        self._queued += len(line)
        self._queue.put(line)

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            return f"{self.format(record)}\n".encode(errors="backslashreplace")
        except Exception:  # noqa: BLE001 - a mistake in a record must not end the code that logs it
            return f"a record of {record.name} cannot be formatted: {record.msg!r}\n".encode()

    def flush(self) -> None:
        """Wait until all lines are written, for at most a second."""
        written = threading.Event()
        self._queue.put(written)
        if self._thread.is_alive():
            written.wait(_FLUSH_LIMIT)

    def close(self) -> None:
        """Write what waits, for at most a second. The end of the process calls this."""
        for record in self._limit.ended(every=True):
            self.emit(record)
        self._queue.put(None)
        self._thread.join(_FLUSH_LIMIT)
        super().close()

    def _run(self) -> None:
        is_open = True
        while is_open:
            waiting = self._next()
            lines = b"".join(each for each in waiting if isinstance(each, bytes))
            self._write(lines)
            self._written += len(lines)
            self._tell()
            for each in waiting:
                if isinstance(each, threading.Event):
                    each.set()
            is_open = None not in waiting

    def _next(self) -> list[bytes | threading.Event | None]:
        """Wait for something in the queue, and return all that is there a moment later.

        Returns nothing after `_SWEEP` seconds, if windows of repeated lines may have passed.
        """
        waiting = []
        with suppress(Empty):
            waiting.append(self._queue.get(timeout=_SWEEP if self._limit.has_windows else None))
            time.sleep(_GATHERING)
            while True:
                waiting.append(self._queue.get_nowait())
        return waiting

    def _tell(self) -> None:
        """Write how many lines were dropped, and how many were like earlier ones."""
        records = self._limit.ended()
        if (dropped := self.dropped) > self._told and self._queue.empty():
            records.append(_dropped(dropped - self._told))
            self._told = dropped
        for record in records:
            self._write(self._line(record))

    def _write(self, lines: bytes) -> None:
        """Write whole lines, although the descriptor may not block."""
        rest = memoryview(lines)
        # If the reader has gone, nobody can be told.
        with suppress(OSError):
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
