"""Fixtures of the MCP face: a backend of jobs, and a gateway to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateways import serving
from tests.mcp.jobs import GRACE, Clock, Jobs
from tests.mcp.wire import Wire, wire


@pytest.fixture
def clock() -> Clock:
    """Return the backend's clock, which a test can set forward."""
    return Clock()


@pytest.fixture
async def jobs(clock: Clock) -> AsyncIterator[Jobs]:
    """Serve a backend of jobs that uses the clock."""
    async with Jobs.open(clock=clock) as backend:
        yield backend


@pytest.fixture
async def url(jobs: Jobs) -> AsyncIterator[str]:
    """Serve a gateway to the backend of jobs; yield the URL of the MCP endpoint."""
    async with serving(jobs.settings, sync_grace=GRACE) as base:
        yield f"{base}/mcp"


@pytest.fixture
async def modern(url: str) -> AsyncIterator[Wire]:
    """Open a client of 2026-07-28 that declares the tasks extension."""
    async with wire(url) as client:
        yield client


@pytest.fixture
async def undeclared(url: str) -> AsyncIterator[Wire]:
    """Open a client of 2026-07-28 that declares no capabilities."""
    async with wire(url, capabilities={}) as client:
        yield client


@pytest.fixture
async def core(url: str) -> AsyncIterator[Wire]:
    """Open a client of 2025-11-25."""
    async with wire(url, "2025-11-25") as client:
        yield client
