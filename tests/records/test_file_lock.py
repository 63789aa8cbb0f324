"""A file of SQLite belongs to one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lro_gateway.records.file_lock import file_lock
from lro_gateway.records.location import StoreError

_HOLDER = """
import sys, pathlib
from lro_gateway.records.file_lock import file_lock
with file_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    """The refusal names the process. The system releases the lock of a process that is killed."""
    file = tmp_path / "store.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=rf"another process \(pid {holder.pid}\)"):
            file_lock(file).__enter__()
        holder.kill()
        holder.wait()
        with file_lock(file):
            pass


@pytest.mark.parametrize("linked", ["file", "directory"])
def test_a_symbolic_link_leads_to_the_same_lock(linked: str, tmp_path: Path) -> None:
    """Two gateways on one file would each begin what the other one does."""
    file = tmp_path / "store" / "store.sqlite3"
    file.parent.mkdir()
    link = tmp_path / "link"
    link.symlink_to(file if linked == "file" else file.parent)
    other = link if linked == "file" else link / file.name
    for first, second in ((file, other), (other, file)):
        with file_lock(first), pytest.raises(StoreError, match="another process"):
            file_lock(second).__enter__()


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    """The store has what callers send, so other users of the machine may not read it."""
    file = tmp_path / "state" / "lro-gateway" / "store.sqlite3"
    with file_lock(file):
        paths = (file.parent, file, Path(f"{file}.lock"))
        assert [f"{path.stat().st_mode & 0o777:o}" for path in paths] == ["700", "600", "600"]


def test_a_path_through_a_file_is_named(tmp_path: Path) -> None:
    """A directory that cannot be made is a mistake in the path."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/store.sqlite3 cannot be opened: .*; give"):
        file_lock(tmp_path / "file" / "store.sqlite3").__enter__()
