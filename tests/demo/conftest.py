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
    """Return the gate that can hold the operations of `server` between batches."""
    return Gate()


@pytest.fixture
async def server(tmp_path: Path, gate: Gate) -> AsyncIterator[DemoServer]:
    """Run a demo server on an empty directory."""
    async with DemoServer.open(tmp_path, pace=gate) as server:
        yield server


@pytest.fixture
async def client(server: DemoServer) -> AsyncIterator[Client]:
    """Connect a client to `server`."""
    async with grpc.aio.insecure_channel(server.target) as channel:
        yield Client(channel)
