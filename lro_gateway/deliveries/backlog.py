"""The past events that a webhook gets when it is made, or when it goes on after a stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from lro_gateway.background import BackgroundTasks
from lro_gateway.deliveries.feed import Beginning, Feed
from lro_gateway.deliveries.happenings import DONE
from lro_gateway.deliveries.notices import Notices
from lro_gateway.deliveries.sending import SECRET_LOST, Sender
from lro_gateway.principal import Principal
from lro_gateway.records.event_entries import Event, EventPage, Subscription, SubscriptionState

_PAUSED: Final = (SubscriptionState.SUSPENDED.value, SECRET_LOST)
"""The errors of deliveries that ended because their webhook was suspended."""


class Backlog:
    """Sends past events. `log`, `outbox` and `subscriptions` are those of the store."""

    def __init__(
        self,
        tasks: BackgroundTasks,
        feed: Feed,
        log: Any,
        outbox: Any,
        subscriptions: Any,
        sender: Sender,
        notices: Notices,
    ) -> None:
        self._tasks = tasks
        self._feed = feed
        self._log = log
        self._outbox = outbox
        self._subscriptions = subscriptions
        self._sender = sender
        self._notices = notices

    async def send(
        self,
        caller: Principal,
        made: Subscription,
        before: Subscription | None,
        beginning: Beginning,
    ) -> tuple[Subscription, EventPage]:
        """Send the events after a beginning; return the webhook, and where it begins.

        Without a cursor, they are the end of its one operation that has ended, and what a suspended
        webhook had not got until then.
        """
        page = await self._feed.missed(caller, made.selection, beginning)
        past = [*page.events, *([] if beginning.has_cursor else await self._end_of(made))]
        if before is None:
            sent = [await self._outbox.add(each, made.id) for each in past]
        else:
            sent = [await self._outbox.replay(each, made.id, beginning.at) for each in past]
            sent += [] if beginning.has_cursor else await self._outbox.go_on(made.id, _PAUSED)
        await self._sender.resume([each for each in sent if each is not None])
        if before is not None and (page.truncated or not beginning.has_cursor):
            made = await self._lost(made)
        return made, page

    async def _lost(self, made: Subscription) -> Subscription:
        """Note that a webhook that begins again has missed events, and tell its receiver."""
        await self._subscriptions.lose(made.id)
        lost = replace(made, lost=made.lost + 1)
        self._tasks.start(self._notices.tell_of_gap(lost))
        return lost

    async def _end_of(self, made: Subscription) -> list[Event]:
        """Return the last event of a webhook's one operation, if the operation has ended."""
        if (target := made.selection.target) is None:
            return []
        last: Event | None = await self._log.last_of(target)
        has_ended = last is not None and last.kind == DONE and made.selection.has(last, made.owner)
        return [last] if last is not None and has_ended else []
