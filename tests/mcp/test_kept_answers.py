"""Tests of the texts that are kept for a while, each for one caller."""

from __future__ import annotations

import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2

from lro_gateway.access.sealing import Sealer
from lro_gateway.mcp.kept_answers import KeptAnswers
from lro_gateway.principal import ANONYMOUS, Principal
from tests.contrary import Answer, ContraryBackend
from tests.mcp.wire import Wire
from tests.serving.test_workers import Backend, running, two

pytestmark = pytest.mark.anyio

ALICE = Principal("alice", "https://issuer.example")
BOB = Principal("bob", "https://issuer.example")
KEY = bytes(range(32))
TEXT = '{"rows":["é\\ud800"]}'


def files_below(directory: Path) -> list[Path]:
    """Return all files below a directory."""
    return [path for path in directory.rglob("*") if path.is_file()]


def only_file(directory: Path) -> Path:
    """Return the one file below a directory."""
    (file,) = files_below(directory)
    return file


def modes(*paths: Path) -> list[str]:
    """Return the permissions of files, such as 600."""
    return [f"{path.stat().st_mode & 0o777:o}" for path in paths]


async def test_only_the_caller_of_a_text_finds_it() -> None:
    """A text without a caller is not kept."""
    kept = KeptAnswers(Sealer())
    uri = await kept.keep(ALICE, TEXT)
    assert [await kept.find(each, uri) for each in (ALICE, BOB)] == [TEXT, None]
    assert await kept.find(ANONYMOUS, await kept.keep(None, TEXT)) is None


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_principal_drops_no_text_of_another_caller(tmp_path: Path, is_shared: bool) -> None:
    """A principal has a quarter of the room. A further text replaces its oldest one."""
    kept = KeptAnswers(Sealer(KEY), tmp_path if is_shared else None)
    reader = KeptAnswers(Sealer(KEY), tmp_path) if is_shared else kept
    others = [(caller, await kept.keep(caller, TEXT)) for caller in (BOB, ANONYMOUS)]
    large = "x" * (5 * 2**20)
    uris = [await kept.keep(ALICE, large) for _ in range(15)]
    found = [await reader.find(ALICE, uri) is not None for uri in uris]
    # A sealed text is a third longer than the text.
    assert found.index(True) in {12, 13}
    assert all(found[found.index(True) :])
    assert [await reader.find(caller, uri) for caller, uri in others] == [TEXT, TEXT]


async def test_processes_with_the_same_keys_share_texts(tmp_path: Path) -> None:
    """The files hold no plain text. Another caller, or a process with other keys, finds nothing."""
    one, other = (KeptAnswers(Sealer(KEY), tmp_path) for _ in range(2))
    uri = await one.keep(ALICE, TEXT)
    assert b"rows" not in only_file(tmp_path).read_bytes()
    assert await other.find(BOB, uri) is None
    assert await other.find(ALICE, uri) == TEXT
    assert await KeptAnswers(Sealer(), tmp_path).find(ALICE, uri) is None
    only_file(tmp_path).unlink()
    assert await other.find(ALICE, uri) == TEXT


@pytest.mark.parametrize("token", ["../secret", "/etc/passwd", "x" * 22, "", "é" * 22])
async def test_a_uri_that_names_no_text_is_not_found(tmp_path: Path, token: str) -> None:
    """The name of a file is a token, and never a path."""
    kept = KeptAnswers(Sealer(), tmp_path)
    assert await kept.find(ALICE, f"answer://{token}") is None


async def test_a_file_with_other_bytes_is_not_found(tmp_path: Path) -> None:
    """A full disk can cut a file, for example."""
    uri = await KeptAnswers(Sealer(KEY), tmp_path).keep(ALICE, TEXT)
    file = only_file(tmp_path)
    for content in (file.read_bytes()[:-4], b"\xff" * 30, b""):
        file.write_bytes(content)
        assert await KeptAnswers(Sealer(KEY), tmp_path).find(ALICE, uri) is None


async def test_a_directory_that_cannot_be_used_leaves_the_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log reports it, and this process still finds the text."""
    kept = KeptAnswers(Sealer(), tmp_path / "missing")
    with caplog.at_level(logging.WARNING):
        uri = await kept.keep(ALICE, TEXT)
    assert await kept.find(ALICE, uri) == TEXT
    assert "other workers cannot read an answer of this one: [Errno 2]" in caplog.text


async def _long_list(_request: Any, _context: Any) -> Answer:
    operations = [operations_pb2.Operation(name=f"jobs/{number:050}") for number in range(1000)]
    page: Answer = operations_pb2.ListOperationsResponse(operations=operations)
    return page


@pytest.fixture
def temporary_directory(tmp_path: Path) -> Path:
    """Return an empty directory."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    return directory


async def test_a_worker_reads_what_another_worker_keeps(
    tmp_path: Path, temporary_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is left when the gateway has stopped."""
    monkeypatch.setenv("TMPDIR", str(temporary_directory))
    jobs = Backend()
    handlers = {"GetOperation": jobs.get, "ListOperations": _long_list}
    async with (
        ContraryBackend.open(handlers) as backend,
        running(tmp_path, backend.target) as gateway,
    ):
        async with two(gateway.url, jobs) as clients:
            one, other = (Wire(client, "/mcp") for client in clients)
            arguments = {"pageSize": 1000}
            page = await one("tools/call", name="list_operations", arguments=arguments)
            uri = page["content"][1]["text"].partition("read the resource ")[2].partition(" ")[0]
            read = [await each("resources/read", uri=uri) for each in (other, one)]
        (answers,) = [path for path in files_below(temporary_directory) if "answers" in str(path)]
        assert modes(answers, answers.parent) == ["600", "700"]
        gateway.process.send_signal(signal.SIGTERM)
        status, _ = await gateway.ended()
    assert read[0] == read[1]
    assert len(json.loads(read[0]["contents"][0]["text"])["operations"]) == 1000
    assert (status, files_below(temporary_directory)) == (0, [])
