"""Fixtures for the tests of deliveries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[tuple[DemoServer, Gate]]:
    """Run the demo's backend, whose operations stay at their beginning until the gate opens."""
    gate = Gate()
    gate.hold()
    async with DemoServer.open(tmp_path / "demo", pace=gate) as server:
        yield server, gate
