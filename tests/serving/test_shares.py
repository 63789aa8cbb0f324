"""The share of each principal in what the gateway answers at a time."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2

from tests.access.guarded import ALICE, BOB, Recording, guarded, rest
from tests.contrary import ContraryBackend, answering

WATCH = "/v1/jobs/1:watch"
RUNNING = operations_pb2.Operation(name="jobs/1")


def info(answer: httpx.Response) -> dict[str, Any]:
    """Return the ErrorInfo of an error."""
    (found,) = answer.json()["error"]["details"]
    return dict(found)


@pytest.mark.parametrize(
    ("setting", "reason", "others"),
    [
        ("max_requests_per_principal", "TOO_MANY_REQUESTS", 429),
        ("max_streams_per_principal", "TOO_MANY_STREAMS", 200),
    ],
)
async def test_a_principal_over_its_share_is_refused_until_a_request_ends(
    setting: str, reason: str, others: int
) -> None:
    """Another principal at the same address has a share of its own, and probes have none."""
    async with AsyncExitStack() as stack:
        handlers = {"GetOperation": answering(RUNNING)}
        backend = await stack.enter_async_context(ContraryBackend.open(handlers))
        entry = {"name": "b", "target": backend.target, "descriptors": []}
        url = await stack.enter_async_context(guarded(Recording(), entry, limits={setting: 2}))
        alice = await stack.enter_async_context(rest(url, ALICE))
        bob = await stack.enter_async_context(rest(url, BOB))
        first = await alice.send(alice.build_request("GET", WATCH), stream=True)
        await stack.enter_async_context(alice.stream("GET", WATCH))
        refused = await alice.get(WATCH)
        assert refused.status_code == 429
        assert refused.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
        found = info(refused)
        assert found["reason"] == reason
        assert found["metadata"] == {"limit": "2", "setting": f"limits.{setting}"}
        assert (await alice.get("/v1/jobs/1")).status_code == others
        assert (await alice.get("/livez")).status_code == 200
        async with bob.stream("GET", WATCH) as watch:
            assert watch.status_code == 200
        await first.aclose()
        status = 429
        while status == 429:
            async with alice.stream("GET", WATCH) as watch:
                status = watch.status_code
        assert status == 200
