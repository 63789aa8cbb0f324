"""The two formats of the log."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from lro_gateway.log_context import REQUEST_ID
from lro_gateway.serving.log_lines import JsonFormatter, TextFormatter

HOSTILE = (
    "jobs/1\n2026-11-26T15:03:12.123Z INFO a: forged\x1b[2J\x07\x7f\x9b\u2028\u202e\u2066\u200bend"
)
"""A text that would forge a line, clear a terminal and change the order of its characters."""


def record(message: str, *arguments: object, **more: Any) -> logging.LogRecord:
    """Return a record of a certain time."""
    values = {"name": "a.b", "levelname": "INFO", "msg": message, "args": arguments}
    return logging.makeLogRecord({**values, "created": 1795705392.123, "msecs": 123.0, **more})


def failure(text: str) -> Any:
    """Return the information about an exception with this text."""
    try:
        raise ValueError(text)  # noqa: TRY301 - it is here for its traceback
    except ValueError:
        return sys.exc_info()


def test_a_line_of_text_has_the_time_the_level_and_the_logger() -> None:
    """The time is in UTC, with milliseconds."""
    line = TextFormatter().format(record("started %s: é", "jobs/1"))
    assert line == "2026-11-26T15:03:12.123Z INFO a.b: started jobs/1: é"


def test_a_line_of_json_has_the_names_of_cloud_logging() -> None:
    """One line is one object."""
    line = JsonFormatter().format(record("started %s: é", "jobs/1"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-11-26T15:03:12.123Z",
        "severity": "INFO",
        "logger": "a.b",
        "message": "started jobs/1: é",
    }


def test_each_record_is_one_line_that_changes_no_terminal() -> None:
    """A name or an error text of a backend cannot look like another record."""
    text = TextFormatter().format(record("started %s", HOSTILE, exc_info=failure(HOSTILE)))
    first, *others = text.split("\n")
    escaped = r"forged\x1b[2J\x07\x7f\x9b\u2028\u202e\u2066\u200bend"
    assert first.endswith(rf"started jobs/1\n2026-11-26T15:03:12.123Z INFO a: {escaped}")
    assert all(line.startswith("  ") for line in others)
    assert any("ValueError: jobs/1" in line for line in others)
    assert text.replace("\n", "").isprintable()

    line = JsonFormatter().format(record("started %s", HOSTILE, exc_info=failure(HOSTILE)))
    assert line.isascii()
    assert line.isprintable()
    entry = json.loads(line)
    assert entry["message"] == f"started {HOSTILE}"
    assert entry["exception"].endswith(f"ValueError: {HOSTILE}")


def test_the_lines_of_a_request_have_its_id() -> None:
    """Lines outside of requests have no id."""
    token = REQUEST_ID.set("r1")
    try:
        logged = record("started")
        assert TextFormatter().format(logged).endswith(": started x-request-id=r1")
        assert json.loads(JsonFormatter().format(logged))["request_id"] == "r1"
    finally:
        REQUEST_ID.reset(token)
    assert "request_id" not in JsonFormatter().format(logged)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_long_record_is_cut(formatter: logging.Formatter) -> None:
    """One error of a backend cannot fill the disk."""
    long = record("%s", "x" * 1_000_000, exc_info=failure("y" * 1_000_000))
    assert 8_000 < len(formatter.format(long)) < 50_000
