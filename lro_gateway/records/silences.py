"""How long other processes have been silent, by the clocks of this process and of the database.

Somebody may set the clock of the database while processes run. After a step back, a process that
has died would seem alive for as long as the step is. After a step forward, all would seem dead.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Clock = Callable[[], float]
"""A clock in seconds that nobody can set."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The last beat of a process. `age` is in seconds, by the clock of the database."""

    replica: str
    time: dt.datetime
    age: float


class Silences:
    """The beats of other processes, and since when this process has seen no newer ones.

    A process that is silent for `lease` seconds is dead.
    """

    def __init__(self, lease: float, clock: Clock = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        self._seen: dict[str, tuple[dt.datetime, float]] = {}

    def note(self, beats: Iterable[Beat]) -> None:
        """Note the last beats of all other processes."""
        before, now = self._seen, self._clock()
        self._seen = {}
        for beat in beats:
            known = before.get(beat.replica)
            is_same = known is not None and known[0] == beat.time
            self._seen[beat.replica] = known if known and is_same else (beat.time, now)

    def is_dead(self, beat: Beat) -> bool:
        """Return whether a process with this last beat is dead.

        This process sees a beat up to two rounds after it was written. So the clock of the database
        decides sooner, but only about a process of which none was seen for half of the lease. About
        a process that this one does not know yet, only the clock of the database can tell.
        """
        is_old = beat.age > self._lease
        if (known := self._seen.get(beat.replica)) is None:
            return is_old
        if known[0] != beat.time:
            return False
        silence = self._clock() - known[1]
        return silence > (self._lease / 2 if is_old else self._lease)
