"""Tests of subscriptions/listen for operations as resources."""

from __future__ import annotations

import asyncio

from mcp import Client
from mcp.shared.subscriptions import ResourceUpdated

from tests.steps import Steps


async def test_a_listener_is_notified_of_each_change_of_a_resource(
    steps_url: str, steps: Steps
) -> None:
    """The first notification comes before any change, and one more comes after each change."""
    uri = "operation://b/jobs/1"
    async with (
        asyncio.timeout(60),
        Client(f"{steps_url}/mcp", mode="2026-07-28") as client,
        client.listen(resource_subscriptions=[uri]) as changes,
    ):
        count = 0
        async for change in changes:
            assert isinstance(change, ResourceUpdated)
            assert str(change.uri) == uri
            count += 1
            if count == 3:
                break
            steps.percent += 50
