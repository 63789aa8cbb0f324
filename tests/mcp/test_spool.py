"""Tests of files that processes share for a while."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from lro_gateway.mcp.spool import Spool


def test_every_process_reads_what_one_has_written(tmp_path: Path) -> None:
    """A name that nobody has written has no bytes."""
    Spool(tmp_path, 100, 60).write("a", b"content")
    other = Spool(tmp_path, 100, 60)
    assert (other.read("a"), other.read("b")) == (b"content", None)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_name_is_written_once(tmp_path: Path) -> None:
    """Nobody can put other bytes in the place of those that a client reads."""
    spool = Spool(tmp_path, 100, 60)
    spool.write("a", b"content")
    with pytest.raises(FileExistsError):
        spool.write("a", b"other")
    assert spool.read("a") == b"content"


def test_an_old_file_is_not_read_and_the_next_write_removes_it(tmp_path: Path) -> None:
    """The age counts from the write."""
    spool = Spool(tmp_path, 100, 60)
    spool.write("a", b"content")
    spool.write("b", b"content")
    for name, age in (("a", 61), ("b", 50)):
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert (spool.read("a"), spool.read("b")) == (None, b"content")
    spool.write("c", b"content")
    assert {each.name for each in tmp_path.iterdir()} == {"b", "c"}


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    """All files together, of any process, keep to the limit."""
    spool = Spool(tmp_path, 100, 60)
    for number, name in enumerate("abcd"):
        Spool(tmp_path, 100, 60).write(name, b"x" * 30)
        os.utime(tmp_path / name, (time.time() - 30 + number,) * 2)
    assert {each.name for each in tmp_path.iterdir()} == {"b", "c", "d"}
    spool.write("e", b"x" * 70)
    assert {each.name for each in tmp_path.iterdir()} == {"d", "e"}


def test_an_owner_over_its_share_loses_only_its_own_oldest_files(tmp_path: Path) -> None:
    """The files of other owners stay, although they are older."""
    spool = Spool(tmp_path, 100, 60)
    for age, name in ((9, "bob.a"), (8, "alice.a"), (7, "alice.b")):
        spool.write(name, b"12345", share=12)
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    spool.write("alice.c", b"12345", share=12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alice.b", "alice.c", "bob.a"]
