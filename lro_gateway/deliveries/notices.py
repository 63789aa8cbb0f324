"""Messages of MCP that are no events: that events were lost, and that a webhook has ended."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

from lro_gateway.access.sealing import UnsealError
from lro_gateway.deliveries.egress import EgressError
from lro_gateway.deliveries.feed import cursor_of
from lro_gateway.deliveries.messages import gap, terminated
from lro_gateway.deliveries.posting import Posting
from lro_gateway.errors import StatusError
from lro_gateway.records.event_entries import Position, Subscription

logger: Final = logging.getLogger(__name__)


class Losses(Protocol):
    """The record of the events that subscriptions have lost."""

    async def told(self, id_: str, lost: int) -> None:
        """Record that a receiver knows of the losses that were counted by then."""


class Notices:
    """Sends messages that are not events. `watermark` returns what is before all that is to come.

    `forbidden` is the error code of the end of a webhook. The message of a gap is sent after the
    next delivery again until the receiver has answered it.
    """

    def __init__(
        self,
        posting: Posting,
        losses: Losses,
        watermark: Callable[[str], Awaitable[Position]],
        forbidden: int,
    ) -> None:
        self._posting = posting
        self._losses = losses
        self._watermark = watermark
        self._forbidden = forbidden
        self._telling: set[str] = set()

    async def tell_of_gap(self, subscription: Subscription) -> None:
        """Tell a receiver of MCP that events were lost, if any were and it has not been told."""
        id_, lost = subscription.id, subscription.lost
        if subscription.face != "mcp" or not lost or id_ in self._telling:
            return
        self._telling.add(id_)
        try:
            message = gap(subscription, cursor_of(await self._watermark(id_)))
            with suppress(EgressError, UnsealError):
                answer = await self._posting.post(subscription, *message)
                # A receiver that does not know this message refuses it, and would do so again.
                if answer.status < 500 and answer.status not in {408, 425, 429}:
                    await self._losses.told(id_, lost)
        except StatusError as error:
            logger.warning("webhook %s is told only later that it has lost events: %s", id_, error)
        finally:
            self._telling.discard(id_)

    async def tell_of_end(self, subscription: Subscription, reason: str) -> None:
        """Tell a receiver of MCP that its webhook has ended."""
        if subscription.face == "mcp":
            with suppress(EgressError, UnsealError):
                await self._posting.post(
                    subscription, *terminated(subscription, self._forbidden, reason)
                )
