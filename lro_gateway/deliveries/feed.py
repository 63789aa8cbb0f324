"""Events for readers that ask: pages after a cursor, and streams."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from lro_gateway.errors import invalid_argument
from lro_gateway.principal import Principal
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import RETENTION, Event, EventPage, Position, Selection

_CURSOR: Final = re.compile(r"(\d{1,19})-(\d{1,19})-(\d{1,12})\Z", re.ASCII)
_FALLBACK: Final = 5.0
"""Seconds after which a stream looks for events although it has not been woken."""
_CLOCKS: Final = dt.timedelta(seconds=1)
"""How much the clocks of replicas may differ."""
MOST: Final = 100
"""The greatest number of events of a page."""
MOST_MISSED: Final = 1000
"""The greatest number of past events that a new webhook gets."""


class Log(Protocol):
    """The log of events."""

    async def after(
        self, position: Position, caller: Principal, selection: Selection, limit: int
    ) -> EventPage:
        """Return the next events that a selection of a caller has after a position."""

    async def newest(
        self, position: Position, caller: Principal, selection: Selection, limit: int
    ) -> EventPage:
        """Return the newest events that a selection of a caller has after a position."""

    async def end(self) -> Position:
        """Return a position that is before every event which is written from now on."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the events of a webhook are to begin: after a position, and not before a time.

    `is_late` tells that some events after the position are too old to be kept. `at` is the time
    when it was asked for.
    """

    position: Position
    oldest: dt.datetime
    is_late: bool = False
    has_cursor: bool = False
    at: dt.datetime = field(default_factory=now)


class Feed:
    """The events that callers may see.

    `may_see` asks the policy for each event.
    """

    def __init__(self, log: Log, may_see: Callable[[Principal, Event], Awaitable[bool]]) -> None:
        self._log = log
        self._may_see = may_see
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Let all streams look for new events."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def page(
        self,
        caller: Principal,
        selection: Selection,
        cursor: str | None,
        *,
        max_age: dt.timedelta | None = None,
        limit: int = MOST,
    ) -> EventPage:
        """Return the next events after a cursor. Without a cursor, return where to begin.

        Events that are older than `max_age` are left out. Raises INVALID_ARGUMENT if the cursor is
        not one of this gateway.
        """
        oldest = now() - max_age if max_age is not None else None
        return await self._page(caller, selection, cursor, oldest, limit)

    async def _page(
        self,
        caller: Principal,
        selection: Selection,
        cursor: str | None,
        oldest: dt.datetime | None,
        limit: int = MOST,
    ) -> EventPage:
        if cursor is None:
            return EventPage((), await self._log.end())
        position, told = _parsed(cursor)
        page = await self._log.after(position, caller, selection, min(limit, MOST))
        events = [
            each
            for each in page.events
            if (oldest is None or each.at >= oldest) and await self._may_see(caller, each)
        ]
        is_late = told < now() - RETENTION
        truncated = is_late or (
            oldest is not None and any(each.at < oldest for each in page.events)
        )
        return EventPage(events, page.end, truncated or page.truncated, page.has_more)

    async def begin(self, cursor: str | None, max_age: dt.timedelta | None = None) -> Beginning:
        """Return where the events of a new webhook begin. Raises as `page` does."""
        if cursor is None:
            return Beginning(await self._log.end(), now() - _CLOCKS)
        position, told = _parsed(cursor)
        oldest = now() - (RETENTION if max_age is None else min(max_age, RETENTION))
        is_late = told < now() - RETENTION or position > await self._log.end()
        return Beginning(position, oldest, is_late, has_cursor=True)

    async def missed(
        self, caller: Principal, selection: Selection, beginning: Beginning
    ) -> EventPage:
        """Return the events that a new webhook gets at once: the newest ones after its beginning.

        Its `end` is where the webhook begins. If it is truncated, that is later than was wanted.
        """
        page = await self._log.newest(beginning.position, caller, selection, MOST_MISSED)
        events = [each for each in page.events if each.at >= beginning.oldest]
        seen = [each for each in events if await self._may_see(caller, each)]
        is_short = page.truncated or len(events) < len(page.events)
        if not (beginning.has_cursor and (beginning.is_late or is_short)):
            return EventPage(seen, beginning.position)
        end = await self._log.end()
        begin = min(end, _before(events[0].position)) if events else end
        return EventPage(seen, begin, truncated=True)

    async def stream(
        self,
        caller: Principal,
        selection: Selection,
        cursor: str | None,
        *,
        oldest: dt.datetime | None = None,
        every: float = 25.0,
    ) -> AsyncGenerator[EventPage]:
        """Yield a page without events at once, then pages with events, until the reader stops.

        Past events from before `oldest` are left out. After `every` seconds without an event, a
        page without events tells the cursor. A page that is truncated has no events: those that are
        left are after its end.
        """
        loop = asyncio.get_running_loop()
        page = await self._page(caller, selection, cursor, oldest)
        is_new = cursor is None or page.truncated
        yield EventPage((), _begin(page) if is_new else _parsed(str(cursor))[0], page.truncated)
        told = loop.time()
        while True:
            changed = self._changed
            if page.events or loop.time() - told >= every:
                yield replace(page, truncated=False)
                told = loop.time()
            if not page.has_more:
                try:
                    async with asyncio.timeout(min(_FALLBACK, every)):
                        await changed.wait()
                except TimeoutError:
                    pass
            page = await self._page(caller, selection, cursor_of(page.end), oldest)
            if page.truncated:
                yield EventPage((), _begin(page), truncated=True)


def _begin(page: EventPage) -> Position:
    """Return a position that is before the events of a page, and after those that it leaves out."""
    return _before(page.events[0].position) if page.events else page.end


def _before(position: Position) -> Position:
    return Position(position.transaction, position.number - 1)


def cursor_of(position: Position, told: dt.datetime | None = None) -> str:
    """Return the cursor of a position up to which events were told, by default now."""
    return f"{position.transaction}-{position.number}-{int((told or now()).timestamp())}"


def _parsed(cursor: str) -> tuple[Position, dt.datetime]:
    found = _CURSOR.match(cursor)
    if found is None:
        raise invalid_argument(
            "cursor", "this gateway did not make this cursor; begin without one", "INVALID_CURSOR"
        )
    transaction, number, told = (min(int(each), 2**62) for each in found.groups())
    latest = int(now().timestamp())
    return Position(transaction, number), dt.datetime.fromtimestamp(min(told, latest), dt.UTC)
