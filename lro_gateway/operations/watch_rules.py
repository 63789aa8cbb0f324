"""How often a backend's operations are polled."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

_YOUNG: Final = 10.0
_OLD: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cadence:
    """The seconds between two polls of an operation, by its age.

    `young` applies up to an age of 10 seconds, `middle` up to 60 seconds, and `old` after that.
    """

    young: float = 1.0
    middle: float = 5.0
    old: float = 30.0

    def interval(self, age: float) -> float:
        """Return the seconds until the next poll; `age` is the operation's age in seconds."""
        return self.young if age < _YOUNG else self.middle if age < _OLD else self.old


@dataclass(frozen=True, slots=True)
class WatchRules:
    """The settings for polls and reads of a backend's operations.

    `polls_per_second` limits the polls of all watches together. A read returns the last state if it
    is younger than `freshness`. `progress_fields` are read before the fields that the gateway
    knows. Each is a path of names in the metadata, such as `job.percent_done`, or two paths to the
    done and the total work, such as `job.rows_done/job.rows`.
    """

    cadence: Cadence = Cadence()
    polls_per_second: float = 100.0
    freshness: dt.timedelta = dt.timedelta(milliseconds=200)
    progress_fields: tuple[str, ...] = ()


DEFAULT_RULES: Final = WatchRules()
