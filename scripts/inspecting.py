"""Runs the command line of the MCP Inspector against a gateway in front of the demo."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.config.models import GatewayConfig
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http

_CREATE: Final = ("create_database", "databaseId=orders", "rowCount=10")


async def inspect(program: str, url: str, token: str, *arguments: str) -> tuple[int, str]:
    """Run the Inspector with a token, and return its status and its output."""
    process = await asyncio.create_subprocess_exec(
        *(program, "--cli", url, "--transport", "http", *arguments),
        *(("--header", f"Authorization: Bearer {token}") if token else ()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode or 0, (output or errors).decode()


async def main(program: str) -> None:
    """List the tools, start an operation and list it. Without a token nothing is told."""
    token, entry = new_token("inspector", tenant="acme")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "tokens.toml"
        file.write_text(f"{entry.line}\n")
        async with DemoServer.open(Path(directory)) as demo:
            config = GatewayConfig.model_validate(
                {
                    "server": {"port": 0},
                    "auth": {"tokens": str(file)},
                    "backends": [{"name": "demo", "target": demo.target}],
                }
            )
            async with Gateway.open(config) as gateway, serve_http(gateway) as server:
                await _check(program, f"{server.url}/mcp", token)


async def _check(program: str, url: str, token: str) -> None:
    tools = await _answer(program, url, token, "--method", "tools/list")
    names = {tool["name"] for tool in tools["tools"]}
    _expect("tools/list has the tools", {"get_operation", _CREATE[0]} <= names)
    call = ("--method", "tools/call", "--tool-name")
    fields = [part for each in _CREATE[1:] for part in ("--tool-arg", each)]
    started = await _answer(program, url, token, *call, _CREATE[0], *fields)
    name = started["structuredContent"]["name"]
    listed = await _answer(program, url, token, *call, "list_operations")
    operations = listed["structuredContent"]["operations"]
    _expect("tools/call starts what is listed", name in {each["name"] for each in operations})
    status, output = await inspect(program, url, "", "--method", "tools/list")
    _expect("without a token there are no tools", status != 0 and _CREATE[0] not in output)


async def _answer(program: str, url: str, token: str, *arguments: str) -> Any:
    status, output = await inspect(program, url, token, *arguments)
    if status:
        sys.exit(f"scripts/inspector: the Inspector ended with {status}:\n{output}")
    return json.loads(output)


def _expect(what: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"scripts/inspector: not so: {what}")
    sys.stdout.write(f"scripts/inspector: {what}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
