"""Whoever listens to an operation hears of its changes."""

from __future__ import annotations

import asyncio

from mcp import Client
from mcp.shared.subscriptions import ResourceUpdated

from tests.steps import Steps


async def test_whoever_listens_hears_of_each_change_of_a_resource(
    steps_url: str, steps: Steps
) -> None:
    """What changed is read anew; the first word comes at once, as it may have changed already."""
    uri = "operation://b/jobs/1"
    async with (
        asyncio.timeout(20),
        Client(f"{steps_url}/mcp", mode="2026-07-28") as client,
        client.listen(resource_subscriptions=[uri]) as changes,
    ):
        told = 0
        async for change in changes:
            assert isinstance(change, ResourceUpdated)
            assert str(change.uri) == uri
            told += 1
            if told == 3:
                break
            steps.percent += 50
