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
    """The beats of other processes, and for how long this process has seen no newer ones.

    A process that is silent for `lease` seconds is dead. Silence counts only while this process
    looks: after an outage of the database, all beats are old, and the first process that comes back
    must not take the others for dead, nor must one that has just started.
    """

    def __init__(self, lease: float, clock: Clock = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        self._seen: dict[str, tuple[dt.datetime, float]] = {}
        """The last beat of each process, and what `_watched` was when it was first seen."""
        self._looked: float | None = None
        self._watched = 0.0
        """The seconds in which this process has looked, of which no look counts for many."""
        self._returned = -lease
        """What `_watched` was after the last outage."""

    def note(self, beats: Iterable[Beat]) -> None:
        """Note the last beats of all other processes."""
        is_back = self._was_away()
        self._watched, self._looked = self._present(), self._clock()
        if is_back:
            self._returned = self._watched
        before, self._seen = self._seen, {}
        for beat in beats:
            known = before.get(beat.replica)
            is_same = known is not None and known[0] == beat.time
            self._seen[beat.replica] = known if known and is_same else (beat.time, self._watched)

    def is_dead(self, beat: Beat) -> bool:
        """Return whether a process with this last beat is dead.

        This process sees a beat up to two rounds after it was written. So the clock of the database
        decides sooner, but only about a process of which none was seen for half of the lease, and
        not soon after an outage.
        """
        known = self._seen.get(beat.replica)
        if known is None or known[0] != beat.time:
            return False
        present = self._present()
        is_steady = not self._was_away() and present - self._returned >= self._lease
        is_sooner = beat.age > self._lease and is_steady
        return present - known[1] >= (self._lease / 2 if is_sooner else self._lease)

    def _was_away(self) -> bool:
        """Return whether the last look was so long ago that the database did not answer since."""
        return self._looked is not None and self._clock() - self._looked > self._lease / 2

    def _present(self) -> float:
        """Return what `_watched` is now."""
        if self._looked is None:
            return 0.0
        return self._watched + min(self._clock() - self._looked, self._lease / 4)
