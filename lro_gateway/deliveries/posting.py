"""Posts signed messages to the receivers of webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from lro_gateway.deliveries.egress import Answer, Egress
from lro_gateway.deliveries.schedule import MCP_SCHEDULE, REST_SCHEDULE, Schedule
from lro_gateway.deliveries.signing import signed_headers
from lro_gateway.records.event_entries import Subscription

_MOST: Final = 500
"""The number of messages at a time."""
_MOST_OF_ONE: Final = 8
"""The number of messages at a time that go to one origin, so that one that hangs stops no other."""


class Posting:
    """Posts messages. `secrets` opens the sealed secrets of a subscription."""

    def __init__(self, egress: Egress, secrets: Callable[[Subscription], Sequence[str]]) -> None:
        self._egress = egress
        self._secrets = secrets
        self._all = asyncio.Semaphore(_MOST)
        # Only a message that is under way keeps the place of its origin.
        self._origins: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def post(
        self, subscription: Subscription, headers: Mapping[str, str], id_: str, body: bytes
    ) -> Answer:
        """Sign a message, and send it when its origin has a place for it.

        Raises `EgressError` if there is no answer, and `UnsealError` if there is no secret.
        """
        async with self._share(subscription.url):
            signed = signed_headers(self._secrets(subscription), id_, body)
            return await self._egress.post(
                subscription.url,
                {**headers, **signed},
                body,
                deadline=schedule_of(subscription).deadline,
            )

    @asynccontextmanager
    async def _share(self, url: str) -> AsyncIterator[None]:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        places = self._origins.get(origin) or asyncio.Semaphore(_MOST_OF_ONE)
        self._origins[origin] = places
        async with places, self._all:
            yield


def schedule_of(subscription: Subscription) -> Schedule:
    """Return when the deliveries of a subscription are attempted."""
    return MCP_SCHEDULE if subscription.face == "mcp" else REST_SCHEDULE
