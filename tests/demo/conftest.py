"""The demo backend in process, and a client of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client


@pytest.fixture
def gate() -> Gate:
    """Hold the operations of `server` between batches."""
    return Gate()


@pytest.fixture
async def server(tmp_path: Path, gate: Gate) -> AsyncIterator[DemoServer]:
    """Serve an empty directory."""
    async with DemoServer.open(tmp_path, pace=gate) as server:
        yield server


@pytest.fixture
async def client(server: DemoServer) -> AsyncIterator[Client]:
    """Talk to `server`."""
    async with grpc.aio.insecure_channel(server.target) as channel:
        yield Client(channel)
