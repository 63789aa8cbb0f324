"""`/metrics` of several workers: one answer has the requests of all of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.serving.test_workers import backend_of_jobs, running
from tests.telemetry.test_metrics import samples

pytestmark = pytest.mark.anyio

_REQUESTS = 40
"""The number of connections, which surely reach both of two workers."""


async def reads_of(url: str) -> float:
    """Return how many reads the metrics count."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{url}/metrics")).text
    return sum(
        value
        for (name, labels), value in samples(text).items()
        if name == "lro_gateway_verb_duration_seconds_count" and ("verb", "get") in labels
    )


async def test_the_metrics_of_all_workers_are_in_each_answer(tmp_path: Path) -> None:
    """They include those of a worker that was killed, because counters never fall."""
    async with backend_of_jobs() as jobs, running(tmp_path, jobs.target) as gateway:
        for _ in range(_REQUESTS):
            async with httpx.AsyncClient(base_url=gateway.url) as client:
                assert (await client.get("/v1/jobs/1")).status_code == 200
        assert len({peer for _, peer in jobs.calls}) == 2
        assert await reads_of(gateway.url) == _REQUESTS
        os.kill(min(gateway.workers), signal.SIGKILL)
        await gateway.logged("replaces worker")
        assert {await reads_of(gateway.url) for _ in range(8)} == {_REQUESTS}
