"""The thread that writes the log: a slow reader, a reader that has gone, and the end."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest

from lro_gateway.serving.log_lines import TextFormatter
from lro_gateway.serving.log_writer import MAX_WAITING, LogWriter


class Log(NamedTuple):
    """A log, its handler, and the end of the pipe that a reader has."""

    logger: logging.Logger
    writer: LogWriter
    reading: int

    def read(self) -> list[str]:
        """Return all lines, once the handler is closed."""
        os.close(self.writer.descriptor)
        with open(self.reading, closefd=False) as file:
            return file.read().splitlines()


@pytest.fixture
def log() -> Iterator[Log]:
    """Log into a pipe, which holds 64 KiB."""
    reading, writing = os.pipe()
    writer = LogWriter(writing, TextFormatter())
    logger = logging.Logger("a.b")  # noqa: LOG001 - a logger of this test alone
    logger.addHandler(writer)
    yield Log(logger, writer, reading)
    with suppress(OSError):
        os.close(reading)
    writer.close()
    with suppress(OSError):
        os.close(writing)


def test_lines_arrive_in_order(log: Log) -> None:
    """The end of the process waits until they are written."""
    for number in range(5):
        log.logger.warning("line %d", number)
    log.writer.close()
    assert [line[-6:] for line in log.read()] == [f"line {number}" for number in range(5)]


def test_a_reader_that_stalls_stops_nobody(log: Log) -> None:
    """Lines beyond what may wait are dropped, and told when the reader goes on."""
    sizes = range(MAX_WAITING // 4000 + 200)
    for number in sizes:
        # Each line is a template of its own, because repeated ones are limited.
        log.logger.warning(f"{number} %s", "x" * 4000)  # noqa: G004 - see above
    assert log.writer.dropped > 100
    log.writer.close()  # ends although nobody reads
    os.set_blocking(log.reading, False)
    lines: list[bytes] = []
    rest = b""
    while not any(b"were dropped" in line for line in lines):
        with suppress(BlockingIOError):
            *complete, rest = (rest + os.read(log.reading, 65536)).split(b"\n")
            lines += complete
    (told,) = (line for line in lines if b"were dropped" in line)
    found = re.search(rb"WARNING lro_gateway.serving.log_writer: (\d+) lines of the log were", told)
    assert found is not None
    assert len(lines) - 1 + int(found[1]) == len(sizes)


def test_a_reader_that_has_gone_stops_nobody(log: Log) -> None:
    """The lines are discarded, and none waits."""
    os.close(log.reading)
    for number in range(5):
        log.logger.warning("line %d", number)
    log.writer.flush()
    log.logger.warning("another line")
    log.writer.close()
    assert log.writer.dropped == 0


def test_a_descriptor_that_does_not_block_gets_every_line(log: Log) -> None:
    """Another program that shares a terminal may have set it so."""
    os.set_blocking(log.writer.descriptor, False)
    for number in range(30):
        log.logger.warning(f"{number} %s", "x" * 8000)  # noqa: G004 - each is a template of its own
    read = b""
    while read.count(b"\n") < 30:
        read += os.read(log.reading, 65536)
    assert re.findall(rb"b: (\d+) x{8000}\n", read) == [b"%d" % n for n in range(30)]


def test_repeated_lines_are_counted_at_the_end(log: Log) -> None:
    """One line stands for all that are left out."""
    for number in range(500):
        log.logger.warning("line %d", number)
    log.writer.close()
    *first, last = log.read()
    assert len(first) == 10
    assert re.search(r"WARNING a\.b: 490 more lines like this one in \d+ s: line 0\Z", last)


def test_a_wrong_record_does_not_end_the_code_that_logs_it(log: Log) -> None:
    """The log has the template."""
    log.logger.warning("%d lines\n", "x")
    log.writer.close()
    assert log.read() == ["a record of a.b cannot be formatted: '%d lines\\n'"]
