"""The first major version of the SDK, whose tasks are those of the core protocol."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.mcp.jobs import Jobs
from tests.mcp.serving import mcp_server, serving

pytestmark = pytest.mark.anyio

CLIENT = Path(__file__).parent / "client_of_mcp_1.py"
PYTHON = CLIENT.parents[2] / ".venv" / "mcp-1" / "bin" / "python"


@pytest.fixture
def python() -> str:
    """Return an interpreter that has the old SDK, which cannot live beside the new one."""
    assert PYTHON.exists(), "scripts/setup --tests installs it"
    return str(PYTHON)


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
