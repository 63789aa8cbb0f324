"""The cast of every chapter: a service, somebody who starts operations, a gateway, and its callers.

The service is the demo: it makes, copies, exports and checks SQLite databases. `gate` holds its
operations between two batches of work, so that a test can look at one that runs.
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
    """Return what holds the service's operations while a test wants to look at them."""
    return Gate()


@pytest.fixture
async def service(tmp_path: Path, gate: Gate) -> AsyncIterator[DemoServer]:
    """Run a service with long-running operations."""
    async with DemoServer.open(tmp_path, pace=gate) as server:
        yield server


@pytest.fixture
async def owner(service: DemoServer) -> AsyncIterator[Owner]:
    """Speak gRPC to the service, to start operations; the gateway does not do that."""
    async with grpc.aio.insecure_channel(service.target) as channel:
        yield Owner(channel)


@pytest.fixture
async def url(service: DemoServer) -> AsyncIterator[str]:
    """Run a gateway in front of the service; return where."""
    async with serving({"name": "demo", "target": service.target}) as url:
        yield url


@pytest.fixture
async def rest(url: str) -> AsyncIterator[Face]:
    """Call the gateway over REST: each method returns the JSON of the answer."""
    async with face("rest", url) as client:
        yield client


@pytest.fixture
async def agent(url: str) -> AsyncIterator[Client]:
    """Call the gateway over MCP, as an agent does."""
    async with Client(f"{url}/mcp") as client:
        yield client
