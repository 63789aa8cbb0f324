"""The destinations of the audit: stderr, a file, and the logs of OpenTelemetry."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener, WatchedFileHandler
from queue import Full, Queue
from typing import Final

from opentelemetry import _logs as otel

from lro_gateway.access.audit import Entry, Sink
from lro_gateway.log_context import KEEP

logger: Final = logging.getLogger(__name__)

NONE: Final = "none"
STDERR: Final = "stderr"
OPENTELEMETRY: Final = "opentelemetry"
MAX_WAITING: Final = 10_000
"""The number of entries that may wait for a slow disk or reader. Entries beyond are dropped."""
_FLUSH_LIMIT: Final = 1.0
"""Seconds that the end of the process waits for a slow disk or reader."""
_DROPPED: Final = "an entry of the audit was dropped, because its %s"


@contextmanager
def open_sink(to: str) -> Iterator[Sink | None]:
    """Open a destination: `none`, `stderr`, `opentelemetry`, or the path of a file.

    A file is opened again if it has been moved or removed. Raises `OSError` if it cannot be opened.
    """
    if to == NONE:
        yield None
    elif to == OPENTELEMETRY:
        yield _emit
    else:
        with _lines(_Stream() if to == STDERR else _file(to)) as sink:
            yield sink


@contextmanager
def _lines(handler: logging.Handler) -> Iterator[Sink]:
    """Write entries as lines of JSON by a thread, so that a slow disk does not stop the gateway."""
    queue: Queue[logging.LogRecord] = Queue(MAX_WAITING)
    entrance, listener = _Entrance(queue), _Listener(queue, handler)
    listener.start()
    try:
        yield lambda entry: entrance.handle(_record(entry))
    finally:
        # The thread of a disk that hangs must not keep the process from ending.
        stop = threading.Thread(target=_stop, args=(listener, handler), daemon=True)
        stop.start()
        stop.join(_FLUSH_LIMIT)


def _stop(listener: QueueListener, handler: logging.Handler) -> None:
    listener.stop()
    handler.close()


def _record(entry: Entry) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": json.dumps(entry).replace("\x7f", "\\u007f")})


class _Listener(QueueListener):
    """Writes the lines of the queue by a thread."""

    def enqueue_sentinel(self) -> None:
        """Tell the thread to end, as soon as the queue has room."""
        self.queue.put(None)  # type: ignore[attr-defined]  # it is a Queue


class _Entrance(QueueHandler):
    """Puts lines into the queue, and drops them if it is full."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record as it is, because its line is ready."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Add a line, or report that it is dropped."""
        try:
            self.queue.put_nowait(record)
        except Full:
            logger.warning(_DROPPED, "disk or its reader is slow")


class _Reporting(logging.Handler):
    """Reports an entry that cannot be written in the log, and does not print a traceback."""

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Report the entry."""
        logger.error(_DROPPED, "file cannot be written", extra=KEEP)


class _Stream(_Reporting, logging.StreamHandler):  # type: ignore[type-arg]  # no stream is given
    """Writes to stderr."""


class _File(_Reporting, WatchedFileHandler):
    """Appends to a file, and opens it again if its path leads to another one."""


def _file(path: str) -> logging.Handler:
    # Only the user of the gateway may read a new file.
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    return _File(path, encoding="utf-8")


def _emit(entry: Entry) -> None:
    """Give an entry to the operator's OpenTelemetry SDK. Without one, nothing happens."""
    body = f"{entry['event']} {entry.get('verb', '')} {entry['outcome']}".replace("  ", " ")
    otel.get_logger("lro_gateway.audit").emit(
        otel.LogRecord(
            severity_number=otel.SeverityNumber.INFO,
            body=body,
            attributes={f"lro_gateway.audit.{key}": value for key, value in entry.items()},
        )
    )
