"""When a webhook is sent, and sent again after a failure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_HOUR: Final = 3600.0
_JITTER: Final = 0.1
_LONGEST_PAUSE: Final = 24 * _HOUR
"""The longest pause in seconds that a receiver may ask for."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The attempts of a delivery: the pause in seconds before each, and the deadline of each."""

    pauses: Sequence[float]
    deadline: float

    def pause(self, attempts: int, retry_after: float | None = None) -> float | None:
        """Return the seconds until the next attempt after so many, or None after the last one.

        Up to a tenth is added at random, so that the attempts of many deliveries spread. A receiver
        may ask for a longer pause.
        """
        if attempts >= len(self.pauses):
            return None
        pause = self.pauses[attempts]
        spread = pause * (1 + random.uniform(0, _JITTER))  # noqa: S311 - no secret
        return max(spread, min(retry_after or 0.0, _LONGEST_PAUSE))


REST_SCHEDULE: Final = Schedule(
    (0.0, 5.0, 300.0, 1800.0, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 10 * _HOUR), deadline=15.0
)
"""The schedule that Standard Webhooks advises."""
MCP_SCHEDULE: Final = Schedule((0.0, 5.0, 60.0, 240.0, 420.0), deadline=10.0)
"""Five attempts within fifteen minutes (SEP-3415)."""


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a header `Retry-After`, or None if it has no meaning (RFC 9110)."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_PAUSE)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)) / timedelta(seconds=1))
