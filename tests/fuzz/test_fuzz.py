"""`scripts/fuzz`: the inputs of the corpus pass, and a minute of fuzzing finds no new ones."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 30
"""Two targets run at a time, so this is a minute of fuzzing in all."""
HOW = (
    "install atheris to fuzz: .venv/bin/python -m pip install --constraint constraints.txt atheris"
)


async def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the scripts in a process of its own, because an input may end its process."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


async def test_every_target_reads_its_corpus() -> None:
    """The corpus has an example of each kind of input, and each input that was a fault once."""
    ended = await run("scripts.fuzzing.replay")
    assert ended.returncode == 0, ended.stderr
    read = dict(line.split(": ") for line in ended.stdout.splitlines())
    assert sorted(read) == sorted(path.name for path in (ROOT / "tests/fuzz/corpus").iterdir())
    assert all(int(count.split()[0]) > 0 for count in read.values())


@pytest.mark.timeout(600)
async def test_a_minute_of_fuzzing_finds_no_fault(tmp_path: Path) -> None:
    """An input that is a fault is printed, and belongs to the corpus after the fault is mended."""
    if importlib.util.find_spec("atheris") is None:
        assert os.environ.get("CI") != "true", HOW
        pytest.skip(HOW)
    ended = await run("scripts.fuzzing", str(SECONDS), "--found", str(tmp_path))
    assert ended.returncode == 0, ended.stdout[-10_000:] + ended.stderr[-2_000:]
    assert "http2_answers" in ended.stdout
