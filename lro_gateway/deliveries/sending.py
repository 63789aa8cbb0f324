"""Sends deliveries: each attempt, its outcome, and the next attempt."""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

from cachetools import LRUCache

from lro_gateway.access.sealing import UnsealError
from lro_gateway.background import BackgroundTasks
from lro_gateway.deliveries.egress import Answer, Egress, EgressError
from lro_gateway.deliveries.messages import message, terminated
from lro_gateway.deliveries.schedule import MCP_SCHEDULE, REST_SCHEDULE, Schedule, retry_after
from lro_gateway.deliveries.signing import signed_headers
from lro_gateway.errors import StatusError
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import (
    Delivery,
    DeliveryState,
    Event,
    Outcome,
    Subscription,
    SubscriptionState,
)

logger: Final = logging.getLogger(__name__)

_MOST: Final = 500
"""The number of attempts at a time."""
_MOST_OF_ONE: Final = 8
"""The number of attempts at a time that go to one origin, so that one that hangs stops no other."""
_GIVE_UP: Final = dt.timedelta(days=5)
"""How long all deliveries of a REST hook must fail until it is disabled."""
_SUSPENDS: Final = dt.timedelta(hours=1)
_MANY: Final = 100
"""The failures in a row, and their time, after which a webhook of MCP is suspended (SEP-3415)."""
_PAUSE: Final = 5.0
"""Seconds until the store is asked again after it did not answer."""
_LONG_PAUSE: Final = 300.0
"""Seconds until an attempt that failed in the gateway itself is made again."""
_MOST_FAILING: Final = 10_000


class Outbox(Protocol):
    """The deliveries in the store."""

    async def claim(self, delivery: Delivery) -> bool:
        """Record that an attempt begins; return False if this process must not make it."""

    async def settle(self, delivery: Delivery, outcome: Outcome) -> dt.datetime | None:
        """Record how an attempt ended; return since when all of the subscription have failed."""

    async def of_ids(self, ids: Sequence[str]) -> list[Delivery]:
        """Return deliveries."""


class Subscriptions(Protocol):
    """The subscriptions in the store."""

    async def get(self, id_: str) -> Subscription | None:
        """Return a subscription."""

    async def set_state(self, id_: str, state: SubscriptionState, reason: str) -> None:
        """Suspend, disable or enable a subscription."""


@dataclass(order=True, slots=True)
class _Due:
    time: float
    id: str = field(compare=False)


class Sender:
    """Sends the deliveries of this process, each on its own schedule.

    `may_receive` tells whether a subscriber may still see an operation. `secrets` opens the sealed
    secrets of a subscription.
    """

    def __init__(
        self,
        tasks: BackgroundTasks,
        outbox: Outbox,
        subscriptions: Subscriptions,
        egress: Egress,
        may_receive: Callable[[Subscription, Event], Awaitable[bool]],
        secrets: Callable[[Subscription], Sequence[str]],
    ) -> None:
        self._tasks = tasks
        self._outbox = outbox
        self._subscriptions = subscriptions
        self._egress = egress
        self._may_receive = may_receive
        self._secrets = secrets
        self._waiting: list[_Due] = []
        self._attempts: set[asyncio.Task[None]] = set()
        self._wakes = asyncio.Event()
        self._all = asyncio.Semaphore(_MOST)
        self._failures: LRUCache[str, int] = LRUCache(_MOST_FAILING)
        """The failures in a row of each webhook."""
        self._origins: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_MOST_OF_ONE)
        )

    def send(self, deliveries: Iterable[Delivery]) -> None:
        """Make the attempts whose beginning is recorded already."""
        for each in deliveries:
            self._start(each, is_claimed=True)

    async def drain(self) -> None:
        """Wait until no attempt is under way."""
        while self._attempts:
            await asyncio.wait(self._attempts)

    def _start(self, delivery: Delivery, *, is_claimed: bool) -> None:
        task = self._tasks.start(self._attempt(delivery, is_claimed=is_claimed))
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def resume(self, ids: Sequence[str]) -> None:
        """Go on with deliveries that this process has taken over or made pending again."""
        for each in await self._outbox.of_ids(ids):
            self._wait(each.id, (each.due - now()).total_seconds())

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
            logger.warning("deliveries wait: %s", error)
            for each in ids:
                self._wait(each, _PAUSE)
            return
        for delivery in found:
            if delivery.state is DeliveryState.PENDING:
                self._start(_next(delivery), is_claimed=False)

    def _wait(self, id_: str, pause: float) -> None:
        heapq.heappush(self._waiting, _Due(asyncio.get_running_loop().time() + pause, id_))
        self._wakes.set()

    async def _attempt(self, delivery: Delivery, *, is_claimed: bool) -> None:
        """Make one attempt, and record its outcome."""
        try:
            if not (is_claimed or await self._outbox.claim(delivery)):
                return
            subscription = await self._subscriptions.get(delivery.subscription)
            if subscription is None:
                return
            outcome = await self._outcome(subscription, delivery)
            failing = await self._outbox.settle(delivery, outcome)
            if failing is not None:
                await self._judge(subscription, failing)
            elif outcome.state is DeliveryState.DELIVERED:
                self._failures.pop(subscription.id, None)
        except StatusError as error:
            # The attempt may have been made. The receiver knows the event by its id.
            logger.warning("a delivery waits: %s", error)
            self._wait(delivery.id, _PAUSE)
            return
        except Exception:
            logger.exception("an attempt of delivery %s failed", delivery.id)
            self._wait(delivery.id, _LONG_PAUSE)
            return
        if outcome.again is not None:
            self._wait(delivery.id, (outcome.again - now()).total_seconds())

    async def _outcome(self, subscription: Subscription, delivery: Delivery) -> Outcome:
        has_expired = subscription.expires is not None and subscription.expires <= now()
        if has_expired or subscription.state is not SubscriptionState.ACTIVE:
            reason = "expired" if has_expired else subscription.state.value
            return Outcome(DeliveryState.DEAD, None, reason)
        if not await self._may_receive(subscription, delivery.event):
            await self._terminate(subscription)
            return Outcome(DeliveryState.DEAD, None, "not_permitted")
        schedule = _schedule(subscription)
        headers, body = message(subscription, delivery.event)
        try:
            answer = await self._post(subscription, headers, delivery.event.id, body)
        except EgressError as error:
            return _failed(schedule, delivery, None, error.kind, None)
        except UnsealError:
            return Outcome(DeliveryState.DEAD, None, "secret_lost")
        if 200 <= answer.status < 300:
            return Outcome(DeliveryState.DELIVERED, answer.status, "")
        if answer.status == 410 and subscription.face == "rest":
            await self._subscriptions.set_state(
                subscription.id, SubscriptionState.DISABLED, "the receiver answered 410 Gone"
            )
        return _refused(schedule, delivery, answer)

    async def _post(
        self, subscription: Subscription, headers: Mapping[str, str], id_: str, body: bytes
    ) -> Answer:
        """Sign a message, and send it when the origin has a place for it."""
        async with self._share(subscription.url):
            signed = signed_headers(self._secrets(subscription), id_, body)
            return await self._egress.post(
                subscription.url,
                {**headers, **signed},
                body,
                deadline=_schedule(subscription).deadline,
            )

    async def _terminate(self, subscription: Subscription) -> None:
        """End a webhook of MCP whose one operation its owner may no longer read, and tell it."""
        if subscription.face != "mcp" or not subscription.selection.name:
            return
        reason = "the operation may no longer be read"
        await self._subscriptions.set_state(subscription.id, SubscriptionState.DISABLED, reason)
        headers, id_, body = terminated(subscription, reason)
        with suppress(EgressError, UnsealError):
            await self._post(subscription, headers, id_, body)

    @asynccontextmanager
    async def _share(self, url: str) -> AsyncIterator[None]:
        parts = urlsplit(url)
        async with self._origins[f"{parts.scheme}://{parts.netloc}"], self._all:
            yield

    async def _judge(self, subscription: Subscription, failing: dt.datetime) -> None:
        """Disable a REST hook that has failed for days, and suspend one of MCP after an hour."""
        failures = self._failures[subscription.id] = self._failures.get(subscription.id, 0) + 1
        if subscription.face == "mcp":
            if failures >= _MANY and now() - failing > _SUSPENDS:
                await self._subscriptions.set_state(
                    subscription.id,
                    SubscriptionState.SUSPENDED,
                    "all deliveries failed for an hour",
                )
        elif now() - failing > _GIVE_UP:
            logger.warning("webhook %s is disabled after five days of failures", subscription.id)
            await self._subscriptions.set_state(
                subscription.id, SubscriptionState.DISABLED, "all deliveries failed for five days"
            )


def _schedule(subscription: Subscription) -> Schedule:
    return MCP_SCHEDULE if subscription.face == "mcp" else REST_SCHEDULE


def _next(delivery: Delivery) -> Delivery:
    """Return a delivery with one more attempt."""
    return Delivery(
        delivery.id, delivery.subscription, delivery.event, delivery.attempts + 1, delivery.due
    )


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
        return Outcome(DeliveryState.DEAD, status, kind)
    return Outcome(DeliveryState.PENDING, status, kind, now() + dt.timedelta(seconds=pause))
