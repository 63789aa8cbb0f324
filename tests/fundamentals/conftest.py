"""Fixtures of every chapter: a service, an owner of operations, a gateway, and clients of it.

The service is the demo, which creates, copies, exports and checks SQLite databases. `gate` stops
its operations between two batches of work, so that a test can read an operation that runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from mcp import Client

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client as Owner
from tests.gateways import Face, face, serving


@pytest.fixture
def gate() -> Gate:
    """Return the gate that stops the service's operations while a test reads them."""
    return Gate()


@pytest.fixture
async def service(tmp_path: Path, gate: Gate) -> AsyncIterator[DemoServer]:
    """Run a service with long-running operations."""
    async with DemoServer.open(tmp_path, pace=gate) as server:
        yield server


@pytest.fixture
async def owner(service: DemoServer) -> AsyncIterator[Owner]:
    """Open a gRPC client that starts operations at the service, without the gateway."""
    async with grpc.aio.insecure_channel(service.target) as channel:
        yield Owner(channel)


@pytest.fixture
async def url(service: DemoServer) -> AsyncIterator[str]:
    """Run a gateway in front of the service; yields its base URL."""
    async with serving({"name": "demo", "target": service.target}) as url:
        yield url


@pytest.fixture
async def rest(url: str) -> AsyncIterator[Face]:
    """Open a REST client of the gateway, whose methods return the JSON of the answer."""
    async with face("rest", url) as client:
        yield client


@pytest.fixture
async def agent(url: str) -> AsyncIterator[Client]:
    """Open an MCP client of the gateway, as an agent has one."""
    async with Client(f"{url}/mcp") as client:
        yield client
