"""Receivers that have asked for no message until a time, with `Retry-After` (RFC 9110)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from lro_gateway.deliveries.egress import Answer
from lro_gateway.deliveries.schedule import retry_after
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import Subscription

_MOST: Final = 8192
"""The number of webhooks whose times are kept here. The store has all of them."""
_BETWEEN: Final = dt.timedelta(milliseconds=20)
"""The time between two messages that have waited for the end of a pause."""
_BUSY: Final = frozenset({429, 503})
"""The statuses whose `Retry-After` is of the receiver, and not of one message."""


class ThrottledError(Exception):
    """A message was not sent, because its receiver wants none now. `again` is when to try it."""

    def __init__(self, again: dt.datetime) -> None:
        super().__init__(f"the receiver wants no message now; again at {again}")
        self.again = again


@dataclass(slots=True)
class _Pause:
    """Until when a receiver wants no message, and how many messages wait for that."""

    until: dt.datetime
    waiting: int = 0


class Throttles:
    """Until when receivers want no message, as this process has heard it lately.

    Messages that wait for a place have read their webhook before, so the store alone would let
    them go on. After a pause, messages go on one after the other. A receiver that asks for ever new
    pauses would otherwise make the gateway look at all of them each time.
    """

    def __init__(self) -> None:
        self._pauses: LRUCache[str, _Pause] = LRUCache(_MOST)

    def check(self, subscription: Subscription) -> None:
        """Raise `ThrottledError` if the receiver of a webhook wants no message now."""
        pause, stored = self._pauses.get(subscription.id), subscription.throttled_until
        if stored is not None and (pause is None or stored > pause.until):
            self._pauses[subscription.id] = pause = _Pause(stored)
        if pause is None or pause.until <= now():
            return
        pause.waiting += 1
        raise ThrottledError(pause.until + pause.waiting * _BETWEEN)

    def note(self, subscription: Subscription, answer: Answer) -> dt.datetime | None:
        """Return until when the receiver wants no message after an answer, and remember it."""
        pause = retry_after(answer.headers.get("retry-after"))
        if answer.status not in _BUSY or not pause:
            return None
        until = now() + dt.timedelta(seconds=pause)
        self._pauses[subscription.id] = _Pause(until)
        return until

    def forget(self, id_: str) -> None:
        """Let messages of a webhook go on, because its owner wants it."""
        self._pauses.pop(id_, None)
