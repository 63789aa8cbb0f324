"""Deliveries: the one object that the faces use for events and webhooks."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pydantic import SecretStr

from lro_gateway.access.sealing import Sealer
from lro_gateway.background import BackgroundTasks
from lro_gateway.deliveries.backlog import Backlog
from lro_gateway.deliveries.egress import Egress
from lro_gateway.deliveries.feed import Feed, cursor_of
from lro_gateway.deliveries.happenings import asked, stopped
from lro_gateway.deliveries.messages import IdOf
from lro_gateway.deliveries.notices import Notices
from lro_gateway.deliveries.posting import Posting
from lro_gateway.deliveries.sending import Sender
from lro_gateway.deliveries.sharing import Sharing
from lro_gateway.deliveries.subscribing import Rules, Subscribing, WebhookRequest
from lro_gateway.deliveries.tracking import EventRules, Trackers
from lro_gateway.deliveries.verifying import Verifier
from lro_gateway.deliveries.watermarks import Watermarks
from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.records.approval import Approval
from lro_gateway.records.event_entries import (
    OF_WEBHOOK,
    Delivery,
    DeliveryState,
    Event,
    EventPage,
    Selection,
    Subscription,
    SubscriptionState,
    Target,
)
from lro_gateway.records.owners import Owner
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest

logger: Final = logging.getLogger(__name__)

_INTEREST: Final = dt.timedelta(minutes=15)
"""How long operations are followed after a reader has asked for their events."""
_REFUSED: Final = frozenset(
    {Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT, Code.UNAUTHENTICATED}
)


class Records(Protocol):
    """The records of deliveries in the store."""

    @property
    def log(self) -> Any:
        """The log of events."""

    @property
    def subscriptions(self) -> Any:
        """The webhooks."""

    @property
    def outbox(self) -> Any:
        """The deliveries."""

    @property
    def replicas(self) -> Any:
        """The processes that share the store."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The rules of webhooks and trackers.

    `forbidden` is the error code in the message that a webhook of MCP has ended. `id_of` returns
    the id of a message.
    """

    rules: Rules
    verifier: Verifier
    event_rules: EventRules
    forbidden: int
    id_of: IdOf


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A webhook that was made or renewed.

    Everything that it gets from now on is after `cursor`. `truncated` tells that this is later than
    the cursor that was asked for. `before` is what was renewed.
    """

    subscription: Subscription
    secret: SecretStr
    cursor: str
    truncated: bool
    before: Subscription | None


class Deliveries:
    """The events of operations, and the webhooks that get them."""

    def __init__(
        self,
        service: OperationService,
        records: Records,
        tasks: BackgroundTasks,
        egress: Egress,
        sealer: Sealer,
        settings: Settings,
    ) -> None:
        self._service = service
        self._records = records
        self._tasks = tasks
        self._public_url = settings.event_rules.public_url
        self.feed = Feed(records.log, self._may_see)
        self.subscribing = Subscribing(
            *(records.subscriptions, settings.verifier, sealer, settings.rules),
            *(self._check_selection, service.router.first_name),
        )
        self._watermarks = Watermarks(records.log)
        self._posting = Posting(egress, self._secrets, settings.id_of, self._watermarks)
        notices = Notices(
            *(self._posting, records.subscriptions, self._watermarks.of), settings.forbidden
        )
        self.sender = Sender(
            *(tasks, records.outbox, records.subscriptions, self._posting, notices),
            *(self._may_receive, self._stopped),
        )
        self._backlog = Backlog(
            *(tasks, self.feed, records.log, records.outbox, records.subscriptions),
            *(self.sender, notices),
        )
        self.trackers = Trackers(
            *(tasks, service.backends, service.router, service.watches, records.log),
            *(self._written, settings.event_rules),
        )
        self.sharing = Sharing(
            *(tasks, records.replicas, self.trackers, self.sender, service.shutdown),
            self.feed.wake,
        )
        self._has_many = False

    async def subscribe(
        self,
        caller: Principal,
        request: WebhookRequest,
        *,
        cursor: str | None = None,
        max_age: dt.timedelta | None = None,
    ) -> Subscribed:
        """Make or renew a webhook, as `Subscribing.subscribe` does, and follow its operations.

        If the selection is one operation that has ended, its last event is delivered at once. A
        webhook that is new, or has stopped and begins again, also gets the events after its cursor,
        or the newest 1,000 of them. Without a cursor, one that was suspended goes on with what it
        had not got until then. The cursor of one that is live changes nothing.
        """
        beginning = await self.feed.begin(cursor, max_age)
        made, secret, before = await self.subscribing.subscribe(caller, request)
        await self._follow(made.selection, made.owner)
        if before is not None and before.is_live:
            watermark = await self._watermarks.of(made.id)
            return Subscribed(made, secret, cursor_of(watermark), False, before)
        self._watermarks.forget(made.id)
        made, page = await self._backlog.send(caller, made, before, beginning)
        return Subscribed(made, secret, cursor_of(page.end), page.truncated, before)

    async def page(
        self, caller: Principal, selection: Selection, cursor: str | None, **options: Any
    ) -> EventPage:
        """Return the next events after a cursor, as `Feed.page` does, and follow their operations.

        Operations are followed for 15 minutes after the last page.
        """
        await self._check_selection(caller, selection)
        await self._be_interested(caller, selection)
        return await self.feed.page(caller, selection, cursor, **options)

    async def stream(
        self, caller: Principal, selection: Selection, cursor: str | None, **options: Any
    ) -> AsyncGenerator[EventPage]:
        """Yield events as `Feed.stream` does, and follow their operations.

        Raises PERMISSION_DENIED once the caller may no longer read the one operation of a
        selection.
        """
        await self._check_selection(caller, selection)
        renewed = asyncio.get_running_loop().time()
        await self._be_interested(caller, selection)
        async with aclosing(self.feed.stream(caller, selection, cursor, **options)) as pages:
            async for page in pages:
                await self._check_again(caller, selection)
                yield page
                if asyncio.get_running_loop().time() - renewed > _INTEREST.total_seconds() / 2:
                    await self._be_interested(caller, selection)
                    renewed = asyncio.get_running_loop().time()

    async def deliveries(
        self,
        caller: Principal,
        id_: str,
        *,
        before: str = "",
        limit: int = 100,
        state: DeliveryState | None = None,
    ) -> tuple[list[Delivery], str]:
        """Return deliveries of a webhook, the newest first, and the id before the next ones.

        Those of operations that the caller may not read are left out, also if that leaves none.
        The id is empty after the last ones.
        """
        await self.subscribing.get(caller, id_)
        found = await self._records.outbox.page(id_, before, limit + 1, state)
        following = found[limit - 1].id if len(found) > limit else ""
        return await self._seen(caller, found[:limit]), following

    async def _seen(self, caller: Principal, found: Sequence[Delivery]) -> list[Delivery]:
        # A webhook without a selection also has deliveries of operations that its owner may not
        # see. They are not sent.
        return [each for each in found if await self._may_see(caller, each.event)]

    async def redeliver(self, caller: Principal, id_: str, delivery: str) -> Delivery | None:
        """Send one delivery of a webhook of REST again.

        Return None if there is none, or none of an operation that the caller may read.
        """
        await self.subscribing.get(caller, id_)
        again = await self._records.outbox.again(id_, delivery)
        return next(iter(await self._sent_again(caller, id_, again)), None)

    async def redeliver_page(
        self,
        caller: Principal,
        id_: str,
        *,
        since: dt.datetime | None = None,
        after: str = "",
        limit: int = 100,
    ) -> tuple[list[Delivery], str]:
        """Send again the deliveries that have not arrived since a time, the oldest first.

        Return those of operations that the caller may read, because the others are not sent, and
        the id after which the next ones are. It is empty after the last ones.
        """
        await self.subscribing.get(caller, id_)
        again, following = await self._records.outbox.again_page(id_, since, after, limit)
        return await self._sent_again(caller, id_, again), following

    async def _sent_again(
        self, caller: Principal, id_: str, again: Sequence[Delivery]
    ) -> list[Delivery]:
        # The owner knows better whether the receiver can take messages now.
        await self._records.subscriptions.release(id_)
        self._posting.throttles.forget(id_)
        await self.sender.resume([each.id for each in again])
        return await self._seen(caller, again)

    def started(self, operation: Operation) -> None:
        """Follow an operation that was started here, if a subscription may select it."""
        if self._has_many and operation.name:
            target = Target(operation.backend, operation.name)
            self._tasks.start(self._begin(target))

    def requested(self, approval: Approval) -> None:
        """Tell that a call waits for an approval."""
        self._tasks.start(self._append(asked(approval, self._public_url)))

    async def _stopped(
        self, subscription: Subscription, state: SubscriptionState, reason: str
    ) -> None:
        await self._append(stopped(subscription, state, reason))

    async def _append(self, event: Event) -> None:
        try:
            self._written(await self._records.log.append(event))
        except StatusError as error:
            name = event.target.name
            logger.warning(
                "event %s of %r cannot be recorded, and is lost: %s", event.kind, name, error
            )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Deliveries]:
        """Deliver until the context ends, or until the gateway begins to stop."""
        async with self.sharing.running(self.sender.run, self.follow_new):
            yield self

    async def follow_new(self) -> None:
        """Follow the operations that nobody follows and that a webhook selects."""
        many = await self._records.subscriptions.of_many()
        self._has_many = bool(many)
        await self._follow_many([(each.selection, each.owner) for each in many])

    def _written(self, deliveries: Sequence[Delivery]) -> None:
        self.sender.send(deliveries)
        self.feed.wake()

    async def _begin(self, target: Target) -> None:
        try:
            await self.trackers.follow(target)
        except StatusError as error:
            # The next round finds the operation in the journal.
            logger.warning(
                "operation %s is followed only after the next round: %s", target.name, error
            )

    async def _follow(self, selection: Selection, owner: Owner) -> None:
        if (target := selection.target) is not None:
            await self.trackers.follow(target, owner)
            return
        self._has_many = True
        await self._follow_many([(selection, owner)])

    async def _follow_many(self, wanted: Sequence[tuple[Selection, Owner]]) -> None:
        """Follow the running operations that a selection has and no process follows."""
        if not wanted:
            return
        await self.trackers.follow_all(
            [
                each
                for each in await self._records.log.unfollowed()
                if any(
                    selection.follows(each.target, each.method, each.owner, subscriber)
                    for selection, subscriber in wanted
                )
            ]
        )

    async def _be_interested(self, caller: Principal, selection: Selection) -> None:
        """Follow the operations of a selection for a reader that may come again."""
        if not selection.name:
            await self.subscribing.note_reader(caller, selection, _INTEREST)
        await self._follow(selection, Owner.of(caller))

    async def _check_selection(self, caller: Principal, selection: Selection) -> None:
        """Raise an error if the caller may not read the one operation of a selection.

        Raises FAILED_PRECONDITION for a backend whose answers differ by caller, because a tracker
        has no caller.
        """
        backend = self._service.backends.get(selection.backend)
        if backend is not None and not self.trackers.can_follow(backend):
            raise status_error(
                Code.FAILED_PRECONDITION,
                f"backend {backend.name!r} gets credentials or headers of each caller, so nobody"
                " can follow its operations for you; wait for the operation, or watch it",
                "NO_EVENTS",
                backend=backend.name,
            )
        if (target := selection.target) is not None:
            request = NameRequest(target.name, target.backend)
            is_followed = self.trackers.follows(target)
            # An operation that nobody follows yet may not exist.
            read = self._service.check if is_followed else self._service.get
            await read(caller, request)

    async def _check_again(self, caller: Principal, selection: Selection) -> None:
        if (target := selection.target) is None:
            return
        try:
            await self._service.check(caller, NameRequest(target.name, target.backend))
        except StatusError as error:
            if error.code not in _REFUSED:
                raise
            text = "the operation may no longer be read"
            raise status_error(Code.PERMISSION_DENIED, text, "POLICY_DENIED") from None

    async def _may_see(self, caller: Principal, event: Event) -> bool:
        if event.kind == OF_WEBHOOK:
            return event.owner == Owner.of(caller)
        target = event.target
        try:
            await self._service.check(caller, NameRequest(target.name, target.backend))
        except StatusError as error:
            if error.code not in _REFUSED:
                raise
            return False
        return True

    async def _may_receive(self, subscription: Subscription, event: Event) -> bool:
        granted = json.loads(subscription.granted)
        owner = subscription.owner
        subscriber = Principal(
            *(owner.subject, owner.issuer, owner.tenant),
            *(frozenset(granted["groups"]), frozenset(granted["scopes"]), subscription.client),
        )
        return await self._may_see(subscriber, event)

    def _secrets(self, subscription: Subscription) -> Sequence[str]:
        return self.subscribing.secrets_of(subscription)
