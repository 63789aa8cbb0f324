"""The two formats of the log: lines of text, and lines of JSON.

Records hold names and error texts of backends and callers. Such a text must not make a line that
looks like another record, and must not change a terminal. So each record is one line, followed by
the indented lines of its traceback in the text format, and characters that show nothing are
escaped.
"""

from __future__ import annotations

import json
import logging
import time
from functools import lru_cache
from typing import Any, Final

from lro_gateway.errors import cut, escaped
from lro_gateway.log_context import HTTP_REQUEST, REQUEST_ID

_LONGEST_MESSAGE: Final = 8 * 1024
_LONGEST_TRACEBACK: Final = 32 * 1024


def _time(record: logging.LogRecord) -> str:
    """Return the time of a record in UTC with milliseconds (RFC 3339)."""
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=2)
def _second(since_epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_epoch))


def _message(record: logging.LogRecord) -> str:
    return cut(record.getMessage().rstrip("\n"), _LONGEST_MESSAGE)


class _Formatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the traceback of an exception, of which the middle is left out if it is long."""
        text = super().formatException(ei)
        half = _LONGEST_TRACEBACK // 2
        return text if len(text) <= 2 * half else f"{text[:half]}\n...\n{text[-half:]}"

    def _traceback(self, record: logging.LogRecord) -> str:
        """Return the traceback or the stack of a record, or an empty text."""
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            parts.append(record.stack_info)
        return "\n".join(parts)


class TextFormatter(_Formatter):
    """Writes `2026-11-26T15:03:12.123Z INFO lro_gateway.gateway: message`.

    The id of the request follows as `x-request-id=...`. The lines of a traceback begin with blanks.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, and the lines of its traceback."""
        line = f"{_time(record)} {record.levelname} {record.name}: {_message(record)}"
        if (request_id := REQUEST_ID.get()) is not None:
            line += f" x-request-id={request_id}"
        traceback = self._traceback(record).splitlines()
        return "\n".join([escaped(line), *(f"  {escaped(each)}" for each in traceback)])


class JsonFormatter(_Formatter):
    """Writes a record as one JSON object, with the names that Cloud Logging knows.

    `time`, `severity`, `logger` and `message` are always present. `request_id`, `httpRequest` and
    `exception` are present if the record has them.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object in ASCII, so that all characters that show nothing are escaped."""
        entry: dict[str, Any] = {
            "time": _time(record),
            "severity": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        if (request_id := REQUEST_ID.get()) is not None:
            entry["request_id"] = request_id
        if (request := getattr(record, HTTP_REQUEST, None)) is not None:
            entry["httpRequest"] = request
        if traceback := self._traceback(record):
            entry["exception"] = traceback
        return json.dumps(entry).replace("\x7f", "\\u007f")
