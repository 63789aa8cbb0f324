"""How often a backend's operations are polled."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

_YOUNG: Final = 10.0
_OLD: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cadence:
    """Seconds between two polls of an operation: under 10 s old, under a minute old, and older."""

    young: float = 1.0
    middle: float = 5.0
    old: float = 30.0

    def interval(self, age: float) -> float:
        """Return the seconds until the next poll of an operation of this age in seconds."""
        return self.young if age < _YOUNG else self.middle if age < _OLD else self.old


@dataclass(frozen=True, slots=True)
class WatchRules:
    """How a backend's operations are watched.

    `polls_per_second` bounds the polls of all watches. A state answers further reads for
    `freshness`. `progress_fields` are read before the usual ones. Each is a path of names in the
    metadata, `job.percent_done`, or two paths, `job.rows_done/job.rows`.
    """

    cadence: Cadence = Cadence()
    polls_per_second: float = 100.0
    freshness: dt.timedelta = dt.timedelta(milliseconds=200)
    progress_fields: tuple[str, ...] = ()


DEFAULT_RULES: Final = WatchRules()
