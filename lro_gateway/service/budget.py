"""The budget of polls: each backend's polls per second, and the order in which watches poll.

If more polls are due than the budget allows, two orders alternate. One turn goes to the watch that
has begun last, because its operation may end soon. The next turn goes round: by the callers'
addresses, for each address by its connections, and for each connection by the time of asking. So
one client with thousands of watches delays neither a new wait nor another client by much.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Iterator
from contextvars import Context
from itertools import count, islice
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.rounds import NOBODY, READER, Rounds
from lro_gateway.principal import Reader

_MAX_KEYS: Final = 16
"""A poll waits in the turns of at most this many readers, so its cost does not grow with them."""
_CATCH_UP: Final = 0.1
"""After a stall, at most the turns of this many seconds follow each other at once."""
_MIN_COMPACTED: Final = 64
_NO_NUMBER: Final = -1


class Readers:
    """The readers of one watch. The watch polls in the turn of whichever of them is next."""

    __slots__ = ("_counts", "_turns", "begun")

    def __init__(self, *readers: Reader) -> None:
        self._counts: dict[Reader, int] = {}
        self._turns: tuple[_Turn, ...] = ()
        self.begun = time.monotonic()
        for reader in readers:
            self.join(reader)

    def __bool__(self) -> bool:
        """Return whether there is a reader."""
        return bool(self._counts)

    def __iter__(self) -> Iterator[Reader]:
        """Iterate over the distinct readers."""
        return iter(self._counts)

    def renew(self) -> None:
        """Make the watch the one that has begun last, because its operation may end soon."""
        self.begun = time.monotonic()
        for turn in self._turns:
            turn.budget.hasten(turn, self.begun)

    def join(self, reader: Reader) -> None:
        """Add a reader. A poll that waits for its turn may now have the turn of this reader too."""
        self._counts[reader] = self._counts.get(reader, 0) + 1
        for turn in self._turns:
            turn.budget.share(turn, reader)

    def leave(self, reader: Reader) -> None:
        """Remove a reader that has joined."""
        if self._counts[reader] == 1:
            del self._counts[reader]
        else:
            self._counts[reader] -= 1

    def wait(self, turn: _Turn) -> None:
        """Note that a poll waits for its turn."""
        self._turns += (turn,)

    def end(self, turn: _Turn) -> None:
        """Note that a poll no longer waits."""
        self._turns = tuple(each for each in self._turns if each is not turn)


class _Turn:
    """A poll that waits for its turn, and the readers under which it is in the queue."""

    __slots__ = ("budget", "granted", "keys", "number")

    def __init__(self, budget: Budget, keys: list[Reader], granted: asyncio.Future[None]) -> None:
        self.budget = budget
        self.keys = keys
        self.granted = granted
        self.number = _NO_NUMBER


class Budget:
    """A limit on the polls per second of one backend. Polls over the limit wait for their turn."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._rounds: Rounds[_Turn] = Rounds()
        self._youngest: list[tuple[float, int, _Turn]] = []
        self._numbers = count()
        self._size = 0
        self._is_for_youngest = True

    async def turn(self, readers: Readers) -> None:
        """Wait until a watch with these readers may poll. A cancelled wait uses no turn.

        The poll then stands in the queue for calls of the backend under one of these readers.
        """
        READER.set(next(iter(readers), NOBODY))
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._size and now >= self._next:
            self._next = now + self._gap
            return
        keys = [*islice(readers, _MAX_KEYS)] or [NOBODY]
        turn = _Turn(self, keys, loop.create_future())
        self._add(turn, readers.begun)
        readers.wait(turn)
        try:
            await turn.granted
        finally:
            readers.end(turn)
            self._remove(turn)

    def share(self, turn: _Turn, reader: Reader) -> None:
        """Let a poll that waits have the turn of this reader too."""
        is_waiting = turn.number != _NO_NUMBER
        if is_waiting and len(turn.keys) < _MAX_KEYS and reader not in turn.keys:
            turn.keys.append(reader)
            self._rounds.add(turn, reader)

    def hasten(self, turn: _Turn, begun: float) -> None:
        """Treat a poll that waits as one of a watch that began at `begun`."""
        if turn.number != _NO_NUMBER:
            turn.number = next(self._numbers)
            heapq.heappush(self._youngest, (-begun, turn.number, turn))
            self._compact()

    def _add(self, turn: _Turn, begun: float) -> None:
        for reader in turn.keys:
            self._rounds.add(turn, reader)
        turn.number = next(self._numbers)
        heapq.heappush(self._youngest, (-begun, turn.number, turn))
        self._size += 1
        if self._timer is None:
            self._set_timer()

    def _remove(self, turn: _Turn) -> None:
        """Remove a turn, unless it is removed already."""
        if turn.number == _NO_NUMBER:
            return
        turn.number = _NO_NUMBER
        for reader in turn.keys:
            self._rounds.remove(turn, reader)
        self._size -= 1
        self._compact()

    def _compact(self) -> None:
        """Drop the entries of removed turns from the heap, if they are the most of it."""
        if len(self._youngest) > 2 * self._size + _MIN_COMPACTED:
            self._youngest = [each for each in self._youngest if each[2].number == each[1]]
            heapq.heapify(self._youngest)

    def _set_timer(self) -> None:
        # The timer serves all readers, so it does not run in the context of one of them.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._next, self._grant, context=Context())

    def _grant(self) -> None:
        """Give the turns that are due."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now - _CATCH_UP)
        while self._size and self._next <= now:
            turn = self._chosen()
            self._remove(turn)
            # A poll whose watch has just been cancelled uses no turn.
            if not turn.granted.done():
                turn.granted.set_result(None)
                self._next += self._gap
                self._is_for_youngest = not self._is_for_youngest
        if self._size:
            self._set_timer()

    def _chosen(self) -> _Turn:
        if not self._is_for_youngest:
            return self._rounds.next()
        while self._youngest[0][2].number != self._youngest[0][1]:
            heapq.heappop(self._youngest)
        return self._youngest[0][2]


class Budgets:
    """The budgets of all backends."""

    def __init__(self) -> None:
        self._budgets: dict[str, Budget] = {}

    def of(self, backend: Backend) -> Budget:
        """Return the budget of a backend, which all its polls share."""
        budget = self._budgets.get(backend.name)
        if budget is None:
            per_second = backend.watch_rules.polls_per_second
            budget = self._budgets[backend.name] = Budget(per_second)
        return budget
