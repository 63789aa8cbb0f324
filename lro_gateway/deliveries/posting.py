"""Posts signed messages to the receivers of webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lro_gateway.deliveries.egress import Answer, Egress
from lro_gateway.deliveries.feed import cursor_of
from lro_gateway.deliveries.messages import IdOf, message
from lro_gateway.deliveries.places import Places
from lro_gateway.deliveries.schedule import MCP_SCHEDULE, REST_SCHEDULE, Schedule
from lro_gateway.deliveries.signing import signed_headers
from lro_gateway.deliveries.throttles import Throttles
from lro_gateway.deliveries.watermarks import Watermarks
from lro_gateway.records.event_entries import Delivery, Subscription

_MOST: Final = 500
"""The number of messages at a time."""
_MOST_OF_ONE: Final = 8
"""The number of messages at a time that go to one origin."""


class Posting:
    """Posts messages. `secrets` opens the sealed secrets of a subscription."""

    def __init__(
        self,
        egress: Egress,
        secrets: Callable[[Subscription], Sequence[str]],
        id_of: IdOf,
        watermarks: Watermarks,
    ) -> None:
        self._egress = egress
        self._secrets = secrets
        self._id_of = id_of
        self._places = Places(_MOST, _MOST_OF_ONE, of_silent=1)
        self._watermarks = watermarks
        self.throttles = Throttles()

    async def deliver(self, subscription: Subscription, delivery: Delivery) -> Answer:
        """Send an event, as `post` does. Raises `ThrottledError` if its receiver wants none now."""
        cursor = ""
        if subscription.face == "mcp":
            event = delivery.event.id
            cursor = cursor_of(await self._watermarks.with_event(subscription.id, event))
        headers, body = message(subscription, delivery.event, cursor)
        id_ = self._id_of(subscription, delivery)
        return await self.post(subscription, headers, id_, body, may_wait=True)

    async def post(
        self,
        subscription: Subscription,
        headers: Mapping[str, str],
        id_: str,
        body: bytes,
        *,
        may_wait: bool = False,
    ) -> Answer:
        """Sign a message, and send it when its origin has a place for it.

        Raises `EgressError` if there is no answer, and `UnsealError` if there is no secret.
        """
        async with self._places.of(subscription.url):
            if may_wait:
                self.throttles.check(subscription)
            signed = signed_headers(self._secrets(subscription), id_, body)
            return await self._egress.post(
                subscription.url,
                {**headers, **signed},
                body,
                deadline=schedule_of(subscription).deadline,
            )


def schedule_of(subscription: Subscription) -> Schedule:
    """Return when the deliveries of a subscription are attempted."""
    return MCP_SCHEDULE if subscription.face == "mcp" else REST_SCHEDULE
