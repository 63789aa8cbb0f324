"""`scripts/chaos`: a short run finds nothing, and a run tells what it finds."""

from __future__ import annotations

import asyncio
import random
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from scripts.neighbourhood.findings import Findings
from scripts.neighbourhood.hooks import kill_once
from scripts.neighbourhood.invariants import check_log
from scripts.neighbourhood.proxy import Mode, Proxy
from scripts.neighbourhood.readers import take_over_polls
from scripts.neighbourhood.replicas import COMMAND
from scripts.neighbourhood.upgrading import program_of, upgrade

_CHAOS = Path(__file__).parent.parent / "scripts" / "chaos"
_TIME_LIMIT = 600
"""Seconds that a short run may take with its start, the recovery and the end."""
_PATIENT = {
    "readers.TAKEOVER": 120.0,
    "readers._SETTLE": 120.0,
    "replicas.TAKEOVER": 120.0,
    # After a lease another replica takes over without a word of the one that has ended.
    "replicas.HANDOVER": 7.0,
}
"""Seconds that a busy machine may need. The goals of a run are those of a machine at rest."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge what happens, and not how soon."""
    for name, seconds in _PATIENT.items():
        monkeypatch.setattr(f"scripts.neighbourhood.{name}", seconds)


@pytest.mark.timeout(_TIME_LIMIT)
def test_the_gateway_holds_among_neighbours_that_fail() -> None:
    """For 10 seconds clients, backends and the machine fail in turn, and every invariant holds."""
    ended = subprocess.run(
        [_CHAOS, "10"], capture_output=True, text=True, timeout=_TIME_LIMIT, check=False
    )
    report = ended.stdout + ended.stderr
    assert ended.returncode == 0, report
    assert "scripts/chaos: the gateway held" in report
    assert "starts acknowledged" in report


async def test_a_gateway_that_is_killed_while_it_sends_webhooks_loses_none(tmp_path: Path) -> None:
    """Only what was under way at the kill comes again."""
    findings = Findings()
    await kill_once(f"sqlite:///{tmp_path / 'store.sqlite3'}", tmp_path, 30, findings)
    assert findings.violations == {}
    assert findings.counts["sqlite: webhooks"] == 30
    assert findings.counts["sqlite: lost (goal 0)"] == 0


@pytest.mark.timeout(_TIME_LIMIT)
async def test_readers_go_on_although_the_replicas_that_poll_for_them_die_or_stop() -> None:
    """Another replica polls soon. No reader gets an error, and the end reaches each of them."""
    findings = Findings()
    await take_over_polls(6, findings)
    assert findings.violations == {}
    assert findings.counts["ends that reach a reader"] == 8


@pytest.mark.timeout(_TIME_LIMIT)
async def test_replicas_are_replaced_while_they_deliver() -> None:
    """Nothing is lost, and only what is in flight at a kill comes twice."""
    findings = Findings()
    chance = random.Random(1)  # noqa: S311 - no secret
    await upgrade(COMMAND, 20, 12, chance, findings)
    assert findings.violations == {}
    assert findings.counts["operations"] == 20
    assert findings.counts["an older replica that starts again goes on"] == 1


def test_an_older_tree_without_a_program_is_refused(tmp_path: Path) -> None:
    """The error says how to make the program."""
    with pytest.raises(FileNotFoundError, match="run scripts/setup in"):
        program_of(tmp_path)


def test_a_violated_invariant_is_in_the_report() -> None:
    """The report has the invariant, the number of violations and what was seen."""
    findings = Findings()
    findings.time("calls", 1.0)
    findings.time("calls", 2.5)
    findings.violate("no call hangs", "GET /v1/jobs/1: 25 s")
    assert findings.lines() == [
        "  calls: 2, longest 2.50 s",
        "VIOLATED: no call hangs (1 times)",
        "  GET /v1/jobs/1: 25 s",
    ]


def test_each_exception_of_a_log_is_reported_once() -> None:
    """A log of a thousand equal tracebacks stays readable."""
    record = "ERROR a.b: failed\n  Traceback (most recent call last):\n    x\n  ValueError: no\n"
    findings = Findings()
    check_log(record * 3 + "INFO a.b: Traceback\n", findings)
    assert findings.counts["tracebacks in the log"] == 3
    ((invariant, (text,)),) = findings.violations.items()
    assert invariant == "the log has no traceback"
    assert text.endswith("ValueError: no")


@pytest.mark.anyio
async def test_the_proxy_treats_what_passes_as_it_is_told() -> None:
    """What a proxy lets pass arrives unchanged; a stall ends, and a refusal cuts connections."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(100):
            writer.write(content)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    target = "{}:{}".format(*server.sockets[0].getsockname())
    async with server, Proxy(target, random.Random(1)).open() as proxy:  # noqa: S311 - no secret
        host, _, port = proxy.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.turn(Mode.STALL)
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(3), 0.2)
        proxy.turn(Mode.PASS)
        assert await reader.readexactly(3) == b"two"
        proxy.turn(Mode.REFUSE)
        with pytest.raises((ConnectionError, EOFError)):
            await reader.readexactly(1)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
