"""The log of real processes: its levels and formats, and a reader that stalls or has gone."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.ports import unused_port

COMMAND = str(Path(sys.executable).parent / "lro-gateway")
BACKEND = ("--backend", "down=127.0.0.1:1")
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) [\w.-]+: \S.*\n"
)
_TIME_LIMIT = 60


@contextmanager
def serving(*options: str, stderr: int | None = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """Run `lro-gateway serve` at any free port."""
    command = (COMMAND, "serve", *BACKEND, "--port", "0", *options)
    with subprocess.Popen(command, stderr=stderr, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def log_of(*options: str, until: str) -> list[str]:
    """Return the lines of the log up to the one with a text, and those of the end."""
    with serving(*options) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if until in line:
                break
        process.send_signal(signal.SIGTERM)
        lines += process.stderr.readlines()
        assert process.wait(_TIME_LIMIT) == 0
    assert any(until in line for line in lines), lines
    return lines


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_line_has_a_time_a_level_and_a_logger(workers: str) -> None:
    """One line says what is served."""
    lines = log_of("--workers", workers, until="lro-gateway: REST")
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    processes = "1 process" if workers == "1" else "2 processes"
    served = (
        rf"REST http://(\S+)/v1, MCP http://\1/mcp; version \S+, 1 backend \(down\), {processes}\n"
    )
    assert len([line for line in lines if re.search(served, line)]) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_line_of_json_is_an_object(workers: str) -> None:
    """A value of an option may have any case."""
    lines = log_of("--log-format", "JSON", "--workers", workers, until="REST http")
    entries = [json.loads(line) for line in lines]
    assert {"WARNING", "INFO"} >= {entry["severity"] for entry in entries}
    assert all({"time", "severity", "logger", "message"} <= entry.keys() for entry in entries)


@pytest.mark.parametrize(
    ("level", "severities"), [("Warning", {"WARNING"}), ("debug", {"DEBUG", "INFO", "WARNING"})]
)
def test_the_level_is_the_least_severe(level: str, severities: set[str]) -> None:
    """The level holds for the libraries too."""
    lines = log_of("--log-level", level, until="is not serving yet")
    found = {LINE.fullmatch(line)[1] for line in lines}  # type: ignore[index]  # None fails too
    assert found == severities


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reader_that_never_reads_stops_neither_requests_nor_the_end(workers: str) -> None:
    """The pipe is full before the gateway starts, so not even its first line can be written."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"x" * 4096)
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    try:
        with serving("--port", str(port), "--workers", workers, stderr=writing) as process:
            transport = httpx.HTTPTransport(retries=20)  # until the gateway listens
            with httpx.Client(transport=transport, timeout=_TIME_LIMIT) as client:
                for _ in range(50):
                    assert client.get(f"{url}/livez").status_code == 200
                    assert client.get(f"{url}/v1/operations/x").status_code == 503
            process.send_signal(signal.SIGTERM)
            assert process.wait(_TIME_LIMIT) == 0
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("closed", ["2>&-", "2> >(:)"], ids=["never open", "its reader has gone"])
def test_the_gateway_serves_without_a_log(closed: str) -> None:
    """Nobody can be told, but the callers are served."""
    port = unused_port()
    command = f"exec {COMMAND} serve {' '.join(BACKEND)} --port {port} {closed}"
    with subprocess.Popen(["bash", "-c", command]) as process:
        try:
            transport = httpx.HTTPTransport(retries=20)
            with httpx.Client(transport=transport, timeout=_TIME_LIMIT) as client:
                for _ in range(20):
                    path = "/v1/operations/x"
                    assert client.get(f"http://127.0.0.1:{port}{path}").status_code == 503
            process.send_signal(signal.SIGTERM)
            assert process.wait(_TIME_LIMIT) == 0
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def test_warnings_of_python_and_asyncio_are_lines_of_the_log() -> None:
    """Also the last lines before the end of the process are written."""
    program = """
import asyncio, warnings
from lro_gateway.config.logs import LogsConfig
from lro_gateway.serving.logs import configure_logging
async def main():
    asyncio.get_running_loop().create_future().set_exception(ValueError("lost"))
configure_logging(LogsConfig())
warnings.warn("old")
asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=True
    )
    assert re.search(r"^\S+Z WARNING py.warnings: .*UserWarning: old", ended.stderr)
    lost = r"^\S+Z ERROR asyncio: Future exception was never retrieved\\nfuture: .*lost"
    assert re.search(lost, ended.stderr, re.MULTILINE)
