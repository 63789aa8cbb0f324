"""The limit for repeated lines of the log."""

from __future__ import annotations

import logging
import re
from typing import Any

from lro_gateway.log_context import KEEP
from lro_gateway.serving.log_limit import FIRST, RepeatLimit


def record(message: object, *arguments: object, **more: Any) -> logging.LogRecord:
    """Return a warning of one logger."""
    values = {"name": "a.b", "levelname": "WARNING", "msg": message, "args": arguments}
    return logging.makeLogRecord({"pathname": "a/b.py", "lineno": 1, **values, **more})


def written(limit: RepeatLimit, *records: logging.LogRecord) -> int:
    """Return how many records the limit lets pass."""
    return sum(bool(limit.filter(each)) for each in records)


def test_the_first_records_of_a_kind_are_written_and_the_rest_is_counted() -> None:
    """The arguments of a template make no other kind."""
    limit = RepeatLimit()
    assert written(limit, *(record("refused %s", n) for n in range(533))) == FIRST
    (summary,) = limit.ended(every=True)
    told = r"523 more lines like this one in \d+ s: refused 0"
    assert re.fullmatch(told, summary.getMessage())
    assert (summary.name, summary.levelname) == ("a.b", "WARNING")
    assert limit.ended(every=True) == []
    assert written(limit, record("refused %s", 1)) == 1


def test_a_summary_of_hostile_texts_formats_nothing_again() -> None:
    """A text of a caller may look like a template."""
    limit = RepeatLimit()
    written(limit, *[record("refused %s", "%s %(x)d")] * 20)
    (summary,) = limit.ended(every=True)
    told = r"10 more lines like this one in \d+ s: refused %s %\(x\)d"
    assert re.fullmatch(told, summary.getMessage())


def test_other_loggers_templates_lines_and_exceptions_are_other_kinds() -> None:
    """A flood of one kind hides no line of another."""
    limit = RepeatLimit()
    error = (ValueError, ValueError("x"), None)
    kinds = [
        record("refused %s", 1),
        record("closed %s", 1),
        record("refused %s", 1, name="a.c"),
        record("refused %s", 1, exc_info=error),
        record("a text without arguments", lineno=7),
        record("another text of the same line", lineno=7),
        record("wrong arguments %d %d", "x"),
    ]
    for _ in range(5):
        assert written(limit, *kinds) == len(kinds)
    assert limit.has_windows
    # The two texts of one line of code are of one kind.
    assert written(limit, *kinds) == len(kinds) - 2


def test_lines_that_must_be_kept_are_not_counted() -> None:
    """Each change leaves its line."""
    limit = RepeatLimit()
    changes = [record("start %s", n, **KEEP) for n in range(1000)]
    assert written(limit, *changes) == 1000
    assert not limit.has_windows
