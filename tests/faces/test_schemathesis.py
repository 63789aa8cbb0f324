"""schemathesis finds no difference between the demo's OpenAPI document and the answers.

The checks of schemathesis are all on. It follows the document, and breaks it. The streams of
`:watch` are left out, because they do not end, and schemathesis reads each answer to its end.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.config.models import GatewayConfig
from lro_gateway.demo.server import DemoServer
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http
from tests.demo.client import Client

HERE = Path(__file__).parent
PROGRAM = HERE.parents[1] / ".venv" / "schemathesis" / "bin" / "schemathesis"
EXAMPLES = 10
"""Inputs of each operation in the random phase. The other phases take as many as they need."""
FEW = ("--max-examples", "2")
"""Enough where each answer is a 401."""


@asynccontextmanager
async def gateway(target: str, **tables: Any) -> AsyncIterator[str]:
    """Serve a gateway to the demo with these tables of the configuration; yields its URL."""
    backends = [{"name": "demo", "target": target}]
    server = {"port": 0, "sync_grace": "0.1s"}
    config = GatewayConfig.model_validate({"server": server, "backends": backends, **tables})
    async with Gateway.open(config) as opened, serve_http(opened) as http_server:
        yield f"http://{http_server.address}"


async def run(directory: Path, document: str, *options: str) -> str:
    """Run schemathesis in a directory, and return its report. It must find nothing."""
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "--config-file", HERE / "schemathesis.toml", "run", document),
        *("--checks", "all", "--exclude-path-regex", ":watch$", "--max-examples", str(EXAMPLES)),
        *("--seed", "1", "--generation-database", "none", "--no-color", *options),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    report = output.decode(errors="replace")
    assert process.returncode == 0, report
    return report


@pytest.mark.timeout(600)
async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Every answer follows the document: without `[auth]`, with a token, and without the token."""
    if not PROGRAM.exists():
        problem = "schemathesis is not installed; run scripts/setup --tests"
        assert os.environ.get("CI") != "true", problem
        pytest.skip(problem)
    (data := tmp_path / "demo").mkdir()
    token, entry = new_token("ci", tenant="infra")
    (tokens := tmp_path / "tokens.toml").write_text(f"{entry.line}\n")
    header = f"Authorization: Bearer {token}"
    async with (
        DemoServer.open(data) as demo,
        grpc.aio.insecure_channel(demo.target) as channel,
        gateway(demo.target) as url,
        gateway(demo.target, auth={"tokens": tokens}) as guarded,
        httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client,
    ):
        await Client(channel).create("orders")
        document = await client.get(f"{guarded}/openapi.json")
        (schema := tmp_path / "openapi.json").write_bytes(document.content)
        reports = [
            await run(tmp_path, f"{url}/openapi.json"),
            await run(tmp_path, f"{guarded}/openapi.json", "--header", header),
            await run(tmp_path, str(schema), "--url", guarded, *FEW),
        ]
    for report in reports:
        selected = re.search(r"Selected: (\d+)/", report)
        assert selected is not None
        assert int(selected[1]) >= 12
        assert f"Tested: {selected[1]}" in report
