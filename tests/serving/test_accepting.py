"""What clients get when the file descriptors of a real process run out."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from pathlib import Path

from tests.serving.wires import LIVEZ, OPENAPI, Wire, exchange, limited


async def test_no_connection_is_reset_at_the_limit_of_file_descriptors(tmp_path: Path) -> None:
    """With 256 descriptors, 400 clients get an answer each, and a probe gets its own."""
    async with limited(tmp_path, idle_timeout="300s") as gateway:
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (256, 256))
        wires = [await Wire.open(gateway, OPENAPI) for _ in range(400)]
        statuses = Counter([(await wire.answer())[0] for wire in wires])
        assert set(statuses) == {200, 503}
        assert 100 < statuses[200] < 200
        assert await exchange(gateway, LIVEZ) == (200, {"status": "ok"})
        await gateway.logged("connections; close some, or see ulimit -n")
        for wire in wires:
            wire.close()
        async with asyncio.timeout(60):
            while (await exchange(gateway, OPENAPI))[0] != 200:
                pass


async def test_silent_connections_keep_no_probe_out(tmp_path: Path) -> None:
    """The oldest of the refused connections ends for each new one."""
    async with limited(tmp_path, idle_timeout="300s", header_timeout="300s") as gateway:
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (128, 128))
        wires = [await Wire.open(gateway) for _ in range(300)]
        for _ in range(5):
            assert await exchange(gateway, LIVEZ) == (200, {"status": "ok"})
        for wire in wires:
            wire.close()
