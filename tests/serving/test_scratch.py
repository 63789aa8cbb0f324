"""Scratch directories, and what killed processes leave of them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lro_gateway.serving.scratch import hold, scratch_directory

_MAKES = """
import sys
from lro_gateway.serving.scratch import scratch_directory
with scratch_directory() as directory:
    print(directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@contextmanager
def made_elsewhere() -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Make a directory in another process; yields both."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", _MAKES], stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdout is not None
        yield Path(process.stdout.readline().strip()), process


def test_a_directory_is_for_one_user_and_ends_with_its_context(tmp_path: Path) -> None:
    """With all that is in it."""
    with scratch_directory() as directory:
        assert (directory.parent, directory.stat().st_mode & 0o777) == (tmp_path, 0o700)
        (directory / "part").mkdir()
        (directory / "part" / "file").touch()
    assert [*tmp_path.iterdir()] == []


def test_what_a_killed_process_has_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    """What a running process has stays, and so do other directories and files."""
    others = {tmp_path / "lro-gateway-other", tmp_path / "lro-gateway-run-file"}
    (tmp_path / "lro-gateway-other").mkdir()
    (tmp_path / "lro-gateway-run-file").touch()
    with made_elsewhere() as (kept, _), made_elsewhere() as (left, killed):
        killed.kill()
        killed.wait()
        assert left.exists()
        with scratch_directory() as own:
            assert {*tmp_path.iterdir()} == {kept, own, *others}
    assert {*tmp_path.iterdir()} == others


def test_a_path_that_would_be_too_long_is_in_another_place(tmp_path: Path) -> None:
    """The address of a Unix socket has a hundred bytes, and the user's place may need more."""
    with scratch_directory(len(str(tmp_path)) + 25) as fits:
        assert fits.parent == tmp_path
    with scratch_directory(len(str(tmp_path)) + 24) as short:
        assert len(str(short)) < 40
        assert short.stat().st_mode & 0o777 == 0o700
    assert not short.exists()


def test_a_process_can_keep_the_directory_of_another_one() -> None:
    """A worker of a parent that was killed needs it until it has ended."""
    with made_elsewhere() as (shared, killed):
        hold(shared)
        killed.kill()
        killed.wait()
        with scratch_directory():
            assert shared.exists()
