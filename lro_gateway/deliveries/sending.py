"""Sends deliveries: each attempt, its outcome, and the next attempt."""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from lro_gateway.access.sealing import UnsealError
from lro_gateway.background import BackgroundTasks
from lro_gateway.deliveries.egress import Answer, EgressError
from lro_gateway.deliveries.notices import Notices
from lro_gateway.deliveries.posting import Posting, schedule_of
from lro_gateway.deliveries.schedule import Schedule, retry_after
from lro_gateway.deliveries.throttles import ThrottledError
from lro_gateway.errors import StatusError
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import (
    MEASURED,
    RETENTION,
    Delivery,
    DeliveryState,
    Event,
    Health,
    Outcome,
    Subscription,
    SubscriptionState,
)

logger: Final = logging.getLogger(__name__)

_GIVE_UP: Final = dt.timedelta(days=5)
"""How long all deliveries of a webhook of REST must fail until it is disabled."""
_MANY: Final = 100
_MOST_FAILURES: Final = 0.95
"""How many attempts must be known, and how many of them must fail, for a webhook of MCP to be
suspended after an hour (SEP-3415)."""
_NO_KEY: Final = (
    "server.keys has no key that opens its secret; rotate the secret and enable the webhook, or"
    " renew the subscription"
)
SECRET_LOST: Final = "secret_lost"  # noqa: S105 - the kind of a failure
"""The error of a delivery whose webhook has no secret that can be opened."""
_PAUSE: Final = 5.0
"""Seconds until the store is asked again after it did not answer."""
_LONG_PAUSE: Final = 300.0
"""Seconds until an attempt that failed in the gateway itself is made again."""


_READ_AT_ONCE: Final = 100
"""The number of deliveries that are read at a time. The data of each is up to 256 KiB."""
_BEGINNING: Final = 16
"""How many attempts read their webhooks at a time. An event for 1,000 webhooks would stop the loop
for a second, and a start would wait for it."""
_PER_SECOND: Final = 400
"""How many of very many deliveries begin in a second. Measured: 10,000 that begin at once take
22 KB each, and one of two busy cores sends 300 in a second."""


Stopped = Callable[[Subscription, SubscriptionState, str], Awaitable[None]]
"""Gets a webhook, its new state, and the reason."""


class Outbox(Protocol):
    """The deliveries in the store."""

    async def claim(self, delivery: Delivery) -> bool:
        """Record that an attempt begins; return False if this process must not make it."""

    async def settle(self, delivery: Delivery, outcome: Outcome) -> Health | None:
        """Record how an attempt ended; return how those of the subscription end.

        Return None if nothing was sent.
        """

    async def of_ids(self, ids: Sequence[str]) -> list[Delivery]:
        """Return deliveries."""


class Subscriptions(Protocol):
    """The subscriptions in the store."""

    async def get(self, id_: str) -> Subscription | None:
        """Return a subscription."""

    async def stop(self, id_: str, state: SubscriptionState, reason: str) -> bool:
        """Suspend or disable an active subscription; return False if it is not active."""


@dataclass(order=True, slots=True)
class _Due:
    time: float
    id: str = field(compare=False)


class Sender:
    """Sends the deliveries of this process, each on its own schedule.

    `may_receive` tells whether a subscriber may still see an operation. `stopped` is called for
    each webhook that the sender has suspended or disabled.
    """

    def __init__(
        self,
        tasks: BackgroundTasks,
        outbox: Outbox,
        subscriptions: Subscriptions,
        posting: Posting,
        notices: Notices,
        may_receive: Callable[[Subscription, Event], Awaitable[bool]],
        stopped: Stopped,
    ) -> None:
        self._tasks = tasks
        self._outbox = outbox
        self._subscriptions = subscriptions
        self._posting = posting
        self._notices = notices
        self._may_receive = may_receive
        self._stopped = stopped
        self._waiting: list[_Due] = []
        self._attempts: set[asyncio.Task[None]] = set()
        self._ready: deque[tuple[Delivery, bool]] = deque()
        self._beginning = 0
        """The number of attempts that have not read their webhooks yet."""
        self._held: set[str] = set()
        """The ids of the deliveries that wait here, or of which an attempt is under way."""
        self._wakes = asyncio.Event()

    def send(self, deliveries: Iterable[Delivery]) -> None:
        """Make the attempts whose beginning is recorded already."""
        for each in deliveries:
            self._start(each, is_claimed=True)

    async def drain(self) -> None:
        """Wait until no attempt is under way."""
        while self._attempts:
            await asyncio.wait(self._attempts)

    def _start(self, delivery: Delivery, *, is_claimed: bool) -> None:
        self._held.add(delivery.id)
        self._ready.append((delivery, is_claimed))
        self._go_on()

    def _go_on(self) -> None:
        """Let attempts begin, not too many of them in one turn of the loop."""
        while self._ready and self._beginning < _BEGINNING:
            self._beginning += 1
            delivery, is_claimed = self._ready.popleft()
            task = self._tasks.start(self._attempt(delivery, is_claimed=is_claimed))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def resume(self, ids: Sequence[str]) -> None:
        """Send deliveries that this process has made pending, not too many of them at once."""
        left = set(ids)
        self._held |= left
        try:
            for at in range(0, len(ids), _READ_AT_ONCE):
                found = await self._outbox.of_ids(ids[at : at + _READ_AT_ONCE])
                left.difference_update(each.id for each in found)
                for number, each in enumerate(found, at):
                    pause = (each.due - now()).total_seconds()
                    self._wait(each.id, max(pause, number / _PER_SECOND))
        finally:
            self._held -= left

    async def take_over(self, ids: Sequence[str]) -> None:
        """Go on with deliveries that now belong to this process, unless it does so already."""
        await self.resume([each for each in ids if each not in self._held])

    async def run(self) -> None:
        """Make attempts that are due, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            pause = self._waiting[0].time - loop.time() if self._waiting else None
            if pause is None or pause > 0:
                self._wakes.clear()
                try:
                    async with asyncio.timeout(pause):
                        await self._wakes.wait()
                except TimeoutError:
                    pass
                continue
            due = []
            while self._waiting and self._waiting[0].time <= loop.time():
                due.append(heapq.heappop(self._waiting).id)
            await self._begin(due)

    async def _begin(self, ids: Sequence[str]) -> None:
        try:
            found = await self._outbox.of_ids(ids)
        except StatusError as error:
            logger.warning(
                "%d due deliveries cannot be read, and are sent later: %s", len(ids), error
            )
            for each in ids:
                self._wait(each, _PAUSE)
            return
        self._held.difference_update(ids)
        for delivery in found:
            if delivery.state is DeliveryState.PENDING:
                self._start(_next(delivery), is_claimed=False)

    def _wait(self, id_: str, pause: float) -> None:
        self._held.add(id_)
        heapq.heappush(self._waiting, _Due(asyncio.get_running_loop().time() + pause, id_))
        self._wakes.set()

    async def _attempt(self, delivery: Delivery, *, is_claimed: bool) -> None:
        """Make one attempt, and wait for the next one."""
        pause = await self._attempted(delivery, is_claimed=is_claimed)
        if pause is None:
            self._held.discard(delivery.id)
        else:
            self._wait(delivery.id, pause)

    async def _attempted(self, delivery: Delivery, *, is_claimed: bool) -> float | None:
        """Make one attempt, and record its outcome; return the seconds until the next one."""
        try:
            subscription = await self._begun(delivery, is_claimed=is_claimed)
            if subscription is None:
                return None
            outcome = await self._outcome(subscription, delivery)
            health = await self._outbox.settle(delivery, outcome)
            if outcome.state is DeliveryState.DELIVERED:
                await self._notices.tell_of_gap(subscription)
            elif health is not None and (found := _judged(subscription, health)) is not None:
                await self._stop(subscription, *found)
        except StatusError as error:
            # The attempt may have been made. The receiver knows the event by its id.
            logger.warning("delivery %s is tried again later: %s", delivery.id, error)
            return _PAUSE
        except Exception:
            logger.exception("an attempt of delivery %s failed", delivery.id)
            return _LONG_PAUSE
        return None if outcome.again is None else (outcome.again - now()).total_seconds()

    async def _begun(self, delivery: Delivery, *, is_claimed: bool) -> Subscription | None:
        """Begin an attempt; return its webhook, or None if the attempt is not to be made."""
        try:
            if is_claimed or await self._outbox.claim(delivery):
                return await self._subscriptions.get(delivery.subscription)
            return None
        finally:
            self._beginning -= 1
            self._go_on()

    async def _outcome(self, subscription: Subscription, delivery: Delivery) -> Outcome:
        if not subscription.is_live:
            reason = "expired" if subscription.has_expired else subscription.state.value
            return Outcome(DeliveryState.DEAD, None, reason, is_lost=True, is_sent=False)
        if not await self._may_receive(subscription, delivery.event):
            await self._terminate(subscription)
            return Outcome(DeliveryState.DEAD, None, "not_permitted", is_sent=False)
        return await self._posted(subscription, delivery)

    async def _posted(self, subscription: Subscription, delivery: Delivery) -> Outcome:
        schedule = schedule_of(subscription)
        try:
            answer = await self._posting.deliver(subscription, delivery)
        except EgressError as error:
            if subscription.failing is None:
                # Its owner gets only the kind: the text may tell about the network of the gateway.
                logger.warning("webhook %s cannot be reached: %s", subscription.id, error)
            return _failed(schedule, delivery, None, error.kind, None)
        except ThrottledError as held:
            return _held(delivery, held)
        except UnsealError:
            await self._stop(subscription, _stopped_state(subscription), _NO_KEY)
            return Outcome(DeliveryState.DEAD, None, SECRET_LOST, is_lost=True, is_sent=False)
        if 200 <= answer.status < 300:
            return Outcome(DeliveryState.DELIVERED, answer.status, "")
        if answer.status == 410 and subscription.face == "rest":
            reason = "the receiver answered 410 Gone"
            await self._stop(subscription, SubscriptionState.DISABLED, reason)
        throttled_until = self._posting.throttles.note(subscription, answer)
        return replace(_refused(schedule, delivery, answer), throttled_until=throttled_until)

    async def _terminate(self, subscription: Subscription) -> None:
        """End a webhook of MCP whose one operation its owner may no longer read, and tell it."""
        if subscription.face != "mcp" or not subscription.selection.name:
            return
        reason = "the operation may no longer be read"
        if await self._stop(subscription, SubscriptionState.DISABLED, reason):
            await self._notices.tell_of_end(subscription, reason)

    async def _stop(
        self, subscription: Subscription, state: SubscriptionState, reason: str
    ) -> bool:
        has_stopped = await self._subscriptions.stop(subscription.id, state, reason)
        if has_stopped:
            logger.warning("webhook %s is %s: %s", subscription.id, state.value, reason)
            await self._stopped(subscription, state, reason)
        return has_stopped


def _stopped_state(subscription: Subscription) -> SubscriptionState:
    """Return the state of a webhook that the gateway stops. One of MCP can be renewed."""
    is_mcp = subscription.face == "mcp"
    return SubscriptionState.SUSPENDED if is_mcp else SubscriptionState.DISABLED


def _judged(subscription: Subscription, health: Health) -> tuple[SubscriptionState, str] | None:
    """Return the state of a webhook that has failed for too long, and the reason.

    A webhook of REST is disabled after five days. One of MCP is suspended after an hour in which
    nearly all of many attempts have failed.
    """
    if subscription.face == "mcp":
        has_many = health.attempts >= _MANY and now() - health.measured >= MEASURED
        if has_many and health.failures > _MOST_FAILURES * health.attempts:
            reason = f"{health.failures} of {health.attempts} attempts failed within an hour"
            return _stopped_state(subscription), reason
    elif health.failing is not None and now() - health.failing > _GIVE_UP:
        return _stopped_state(subscription), "all deliveries failed for five days"
    return None


def _next(delivery: Delivery) -> Delivery:
    """Return a delivery with one more attempt."""
    return replace(delivery, attempts=delivery.attempts + 1)


def _held(delivery: Delivery, held: ThrottledError) -> Outcome:
    """Return that a delivery waits for its receiver. One that has waited for a week is dead."""
    if delivery.event.at < now() - RETENTION:
        return Outcome(DeliveryState.DEAD, None, "throttled", is_lost=True, is_sent=False)
    kept = (DeliveryState.PENDING, delivery.status, delivery.error)
    return Outcome(*kept, held.again, is_sent=False)


def _refused(schedule: Schedule, delivery: Delivery, answer: Answer) -> Outcome:
    kind = f"http_{answer.status // 100}xx"
    if answer.status in {410, 413}:
        # The receiver does not want this message, and would refuse it again.
        return Outcome(DeliveryState.DEAD, answer.status, kind)
    pause = retry_after(answer.headers.get("retry-after"))
    return _failed(schedule, delivery, answer.status, kind, pause)


def _failed(
    schedule: Schedule, delivery: Delivery, status: int | None, kind: str, wanted: float | None
) -> Outcome:
    pause = schedule.pause(delivery.attempts, wanted)
    if pause is None:
        return Outcome(DeliveryState.DEAD, status, kind, is_lost=True)
    return Outcome(DeliveryState.PENDING, status, kind, now() + dt.timedelta(seconds=pause))
