"""The cursor of a webhook of MCP: what it had not got yet is after it (SEP-3415)."""

from __future__ import annotations

from typing import Final, Protocol

from cachetools import TTLCache

from lro_gateway.records.event_entries import OnTheirWay, Position

_MOST: Final = 8192
_KEPT: Final = 1.0
"""Seconds for which what was read is kept. An older watermark is before more, and so is right."""


class Log(Protocol):
    """The log of events."""

    async def on_their_way(self, subscription: str) -> OnTheirWay:
        """Return which events a webhook has not got yet."""


class Watermarks:
    """Positions before all that webhooks have not got yet.

    Of a webhook that gets many events at once, the store is asked once in a second.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lately: TTLCache[str, Position] = TTLCache(_MOST, _KEPT)

    async def of(self, subscription: str) -> Position:
        """Return the present position of a webhook."""
        return (await self._log.on_their_way(subscription)).before()

    async def with_event(self, subscription: str, event: str) -> Position:
        """Return the position that is right once the receiver has taken an event."""
        if (known := self._lately.get(subscription)) is not None:
            return known
        found = await self._log.on_their_way(subscription)
        self._lately[subscription] = found.before()
        return found.before(event)

    def forget(self, subscription: str) -> None:
        """Let what was read go, because older events of a webhook are sent again."""
        self._lately.pop(subscription, None)
