"""A connection that goes silent is replaced after the keepalive interval and its time-out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway.backends.channel import Endpoint, open_channel
from lro_gateway.backends.vigil import Vigil
from tests.contrary import ContraryBackend, knowing
from tests.processes import served
from tests.resets import ResettingServer, answering_grpc
from tests.silent_proxy import SilentProxy

RUNNING = operations_pb2.Operation(name="jobs/1")
_LONGEST = 40.0
"""Seconds: 20 times the interval and its time-out, and two thirds of gRPC's own time-out."""


@pytest.mark.parametrize("deadline", ["0.2s", "5s"])
async def test_a_silent_connection_is_replaced_within_the_interval_and_its_time_out(
    tmp_path: Path, deadline: str
) -> None:
    """The calls may be shorter or longer than the interval and its time-out."""
    settings = {"keepalive": "1s", "keepalive_timeout": "1s", "deadline": deadline}
    async with (
        ContraryBackend.open(knowing(RUNNING)) as backend,
        SilentProxy.open(backend.target) as proxy,
        served(tmp_path, {"name": "b", "target": proxy.target, **settings}) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        # A busy machine may need longer for the first answers than the deadline.
        while (await client.get("/v1/jobs/1")).status_code != 200:
            pass
        before = proxy.connections
        proxy.silence()
        statuses = []
        async with asyncio.timeout(_LONGEST):
            while 200 not in statuses:
                statuses.append((await client.get("/v1/jobs/1")).status_code)
    assert set(statuses) <= {200, 503, 504}
    assert proxy.connections > before


async def test_one_vigil_is_kept_at_a_time() -> None:
    """Each call that is late asks for a vigil, and one open call suffices for gRPC's pings."""
    received = asyncio.Event()
    never_ending = answering_grpc({}, ends=False)
    streams: list[int] = []

    def ending(stream: int) -> bytes:
        streams.append(stream)
        received.set()
        return never_ending(stream)

    async with ResettingServer.open(ending) as server:
        interval = timedelta(seconds=30)
        endpoint = Endpoint("b", server.target, keepalive=interval, keepalive_timeout=interval)
        channel = open_channel(endpoint)
        vigil = Vigil(channel, endpoint)
        for _ in range(5):
            vigil.begin()
        async with asyncio.timeout(60):
            await received.wait()
        vigil.begin()
        await channel.close(None)
    assert len(streams) == 1
