"""The first major version of the SDK, whose tasks are those of the core protocol."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import venv
from pathlib import Path

import pytest

from tests.mcp.jobs import Jobs
from tests.mcp.serving import mcp_server, serving

pytestmark = pytest.mark.anyio

WANTED = "mcp==1.30.0"
CLIENT = Path(__file__).parent / "client_of_mcp_1.py"
PLACE = CLIENT.parents[2] / ".venv" / "mcp-1"


@pytest.fixture(scope="session")
def python() -> str:
    """Return an interpreter that has the old SDK, which cannot live beside the new one."""
    PLACE.mkdir(parents=True, exist_ok=True)
    installed = PLACE / "installed"
    interpreter = str(PLACE / "bin/python")
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_text() != WANTED:
            venv.create(PLACE, with_pip=True)
            quiet = ("--quiet", "--disable-pip-version-check")
            subprocess.run([interpreter, "-m", "pip", "install", *quiet, WANTED], check=True)
            installed.write_text(WANTED)
    return interpreter


async def test_it_follows_an_operation_as_a_task(python: str) -> None:
    """It starts one, polls it, reads its typed result, and cancels another."""
    async with (
        Jobs.open() as jobs,
        mcp_server({"name": "jobs", "target": jobs.target}) as mcp,
        serving(mcp) as url,
    ):
        process = await asyncio.create_subprocess_exec(
            python, str(CLIENT), url, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
    assert json.loads(said) == {
        "capability": {"cancel": {}, "requests": {"tools": {"call": {}}}},
        "created": "working",
        "last": "completed",
        "response": {"@type": "type.googleapis.com/jobs.v1.SlowComputeResponse", "label": "a"},
        "cancelled": "cancelled",
    }
