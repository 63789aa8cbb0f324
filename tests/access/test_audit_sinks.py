"""The destinations of the audit: none of them delays the gateway or loses lines unnoticed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from opentelemetry import _logs as otel
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from lro_gateway.access import audit_sinks
from lro_gateway.access.audit_sinks import MAX_WAITING, open_sink


def test_an_entry_is_a_line_of_a_file_that_only_its_user_can_read(tmp_path: Path) -> None:
    """A name with a line break does not make another line."""
    file = tmp_path / "audit.jsonl"
    with open_sink(str(file)) as sink:
        assert sink is not None
        sink({"name": "a\nb\x7f"})
    assert file.stat().st_mode & 0o077 == 0
    (line,) = file.read_text().splitlines()
    assert json.loads(line) == {"name": "a\nb\x7f"}


def test_a_file_that_was_moved_is_opened_again(tmp_path: Path) -> None:
    """As logrotate moves it."""
    file = tmp_path / "audit.jsonl"
    with open_sink(str(file)) as sink:
        assert sink is not None
        sink({"name": "1"})
        while not file.read_text():
            pass
        file.rename(tmp_path / "old.jsonl")
        sink({"name": "2"})
    assert json.loads((tmp_path / "old.jsonl").read_text()) == {"name": "1"}
    assert json.loads(file.read_text()) == {"name": "2"}


def test_stderr_has_the_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """Each is a JSON object."""
    with open_sink("stderr") as sink:
        assert sink is not None
        sink({"name": "1"})
    assert json.loads(capfd.readouterr().err) == {"name": "1"}


def test_a_pipe_that_nobody_reads_does_not_stop_the_gateway(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log reports the entries that are dropped, and the process can end."""
    monkeypatch.setattr(audit_sinks, "_FLUSH_LIMIT", 0.01)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with open_sink(str(pipe)) as sink:
        assert sink is not None
        for _ in range(MAX_WAITING + 200):
            sink({"name": "x" * 1000})
    assert "an entry of the audit was dropped, because its disk or its reader is slow" in (
        caplog.messages
    )
    os.set_blocking(reader, True)
    while os.read(reader, 2**20):
        pass
    os.close(reader)


def test_none_has_no_sink() -> None:
    """So nothing is made for it."""
    with open_sink("none") as sink:
        assert sink is None


def test_the_logs_of_opentelemetry_get_the_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the API, so that the operator's SDK exports them."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(otel, "get_logger", provider.get_logger)
    with open_sink("opentelemetry") as sink:
        assert sink is not None
        sink({"event": "call", "verb": "start", "outcome": "OK", "confirmed": True})
    (found,) = exporter.get_finished_logs()
    assert found.log_record.body == "call start OK"
    assert found.log_record.attributes is not None
    assert found.log_record.attributes["lro_gateway.audit.confirmed"] is True
