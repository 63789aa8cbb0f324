"""Receivers that have asked for no message until a time, with `Retry-After` (RFC 9110)."""

from __future__ import annotations

import datetime as dt
from typing import Final

from cachetools import LRUCache

from lro_gateway.deliveries.egress import Answer
from lro_gateway.deliveries.schedule import retry_after
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import Subscription

_MOST: Final = 8192
"""The number of webhooks whose times are kept here. The store has all of them."""
_BUSY: Final = frozenset({429, 503})
"""The statuses whose `Retry-After` is of the receiver, and not of one message."""


class ThrottledError(Exception):
    """A message was not sent, because its receiver wants none until a time."""

    def __init__(self, until: dt.datetime) -> None:
        super().__init__(f"the receiver wants no message until {until}")
        self.until = until


class Throttles:
    """Until when receivers want no message, as this process has heard it lately.

    Messages that wait for a place have read their webhook before, so the store alone would let
    them go on.
    """

    def __init__(self) -> None:
        self._until: LRUCache[str, dt.datetime] = LRUCache(_MOST)

    def check(self, subscription: Subscription) -> None:
        """Raise `ThrottledError` if the receiver of a webhook wants no message now."""
        known = (subscription.throttled_until, self._until.get(subscription.id))
        if (until := max((each for each in known if each), default=None)) and until > now():
            raise ThrottledError(until)

    def note(self, subscription: Subscription, answer: Answer) -> dt.datetime | None:
        """Return until when the receiver wants no message after an answer, and remember it."""
        pause = retry_after(answer.headers.get("retry-after"))
        if answer.status not in _BUSY or not pause:
            return None
        until = now() + dt.timedelta(seconds=pause)
        self._until[subscription.id] = until
        return until

    def forget(self, id_: str) -> None:
        """Let messages of a webhook go on, because its owner wants it."""
        self._until.pop(id_, None)
