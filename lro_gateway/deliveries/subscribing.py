"""Subscriptions of webhooks: who may have one, its receiver, its renewal and its end."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from pydantic import SecretStr

from lro_gateway.access.sealing import Sealer
from lro_gateway.deliveries.addresses import AddressFilter
from lro_gateway.deliveries.sealed_secrets import SealedSecrets
from lro_gateway.deliveries.signing import is_secret, new_secret
from lro_gateway.deliveries.urls import check_url
from lro_gateway.deliveries.verifying import Verifier
from lro_gateway.errors import Code, StatusError, invalid_argument, status_error
from lro_gateway.principal import Principal
from lro_gateway.records.entries import new_id, now, recorded_names, renamed
from lro_gateway.records.event_entries import Selection, Subscription, SubscriptionState
from lro_gateway.records.owners import Owner

_MOST_READERS: Final = 1000
"""The number of selections of events that one caller may read without webhooks."""


class SubscriptionStore(Protocol):
    """The subscriptions in the store."""

    async def put(self, subscription: Subscription, most: int) -> bool:
        """Store a subscription; return False if its owner would have more than `most`."""

    async def get(self, id_: str, owner: Owner | None = None) -> Subscription | None:
        """Return a subscription, or None if there is none, or none of this owner."""

    async def page(self, owner: Owner, face: str, after: str, limit: int) -> list[Subscription]:
        """Return the subscriptions of an owner in the order of their ids, after an id."""

    async def remove(self, id_: str, owner: Owner) -> bool:
        """Remove a subscription and its deliveries; return False if there is none."""

    async def is_verified(self, owner: Owner, url: str) -> bool:
        """Return whether an owner has a live subscription of MCP with a URL, which was verified."""

    async def set_secrets(
        self, id_: str, secrets: Sequence[str], old_until: dt.datetime | None
    ) -> None:
        """Replace the sealed secrets of a subscription."""

    async def set_state(self, id_: str, state: SubscriptionState, reason: str) -> None:
        """Suspend, disable or enable a subscription."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of webhooks: who may have them, how many, and where they may go."""

    addresses: AddressFilter
    most: int
    http: bool = False
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A webhook that a caller wants. Without a secret, it gets a new one."""

    face: str
    url: str
    selection: Selection
    secret: SecretStr | None = None
    ttl: dt.timedelta | None = None
    format: str = "event"


class Subscribing:
    """Makes, renews and ends subscriptions.

    `check_selection` raises an error if the caller may not read the operation of a selection.
    `first_name` returns the first name that a backend had.
    """

    def __init__(
        self,
        store: SubscriptionStore,
        verifier: Verifier,
        sealer: Sealer,
        rules: Rules,
        check_selection: Callable[[Principal, Selection], Awaitable[None]],
        first_name: Callable[[str], str],
    ) -> None:
        self._store = store
        self._secrets = SealedSecrets(sealer)
        self._rules = rules
        self._check_selection = check_selection
        self._first_name = first_name
        self._verifier = verifier

    async def subscribe(
        self, caller: Principal, request: WebhookRequest
    ) -> tuple[Subscription, SecretStr, Subscription | None]:
        """Make a subscription, or renew it; return it, its secret, and the one that it renews.

        A subscription of the face `mcp` is renewed if the caller, the URL and the selection are
        those of an earlier one, and its receiver must want the events. Raises PERMISSION_DENIED
        for a caller without an identity, INVALID_ARGUMENT for a wrong URL or secret,
        RESOURCE_EXHAUSTED for too many, and what `Verifier.verify` raises.
        """
        self._check(caller, request)
        await self._check_selection(caller, request.selection)
        owner = Owner.of(caller)
        secret = request.secret or SecretStr(new_secret())
        is_mcp = request.face == "mcp"
        before = await self._known(owner, request) if is_mcp else None
        new = self._ids_of(owner, request)[0] if is_mcp else f"wh_{new_id()}"
        id_ = new if before is None else before.id
        if is_mcp and not await self._store.is_verified(owner, request.url):
            await self._verifier.verify(id_, request.url, secret)
        sealed = self._secrets.seal(id_, secret)
        subscription = Subscription(
            id_,
            request.face,
            owner,
            caller.client,
            json.dumps({"groups": sorted(caller.groups), "scopes": sorted(caller.scopes)}),
            request.url,
            (sealed,),
            request.selection,
            request.format,
            expires=None if request.ttl is None else now() + request.ttl,
        )
        if before is not None:
            subscription = _renewed(before, subscription, self._secrets)
        if not await self._store.put(subscription, self._rules.most):
            raise status_error(
                Code.RESOURCE_EXHAUSTED,
                f"this caller has {self._rules.most} webhooks, which is the most; end one first",
                "TOO_MANY_WEBHOOKS",
                metadata={"limit": str(self._rules.most)},
            )
        return subscription, secret, before

    async def note_reader(self, caller: Principal, selection: Selection, ttl: dt.timedelta) -> None:
        """Record that somebody reads events without a webhook, so that they are written.

        Raises RESOURCE_EXHAUSTED if the caller reads too many selections.
        """
        owner = Owner.of(caller)
        reader = Subscription(
            self._ids_of(owner, WebhookRequest("reader", "", selection))[0],
            *("reader", owner, caller.client, "{}", "", (), selection),
            expires=now() + ttl,
        )
        if not await self._store.put(reader, _MOST_READERS):
            raise status_error(
                Code.RESOURCE_EXHAUSTED,
                f"this caller reads {_MOST_READERS} selections of events, which is the most; one"
                " that nobody reads any more counts for 15 minutes",
                "TOO_MANY_SELECTIONS",
                metadata={"limit": str(_MOST_READERS)},
            )

    async def unsubscribe(self, caller: Principal, request: WebhookRequest) -> bool:
        """End a subscription of the face `mcp`; return False if there is none."""
        owner = Owner.of(caller)
        known = await self._known(owner, request)
        return known is not None and await self._store.remove(known.id, owner)

    async def _known(self, owner: Owner, request: WebhookRequest) -> Subscription | None:
        """Return the subscription of the face `mcp` that a request means, or None."""
        for id_ in self._ids_of(owner, request):
            if (found := await self._store.get(id_, owner)) is not None:
                return found
        return None

    def _ids_of(self, owner: Owner, request: WebhookRequest) -> list[str]:
        """Return the ids that a subscription may have, the present one first.

        Each is a digest of who, where and what, with the first name of the backend. The one
        operation of a selection may have had another name when the subscription was made.
        """
        selection = request.selection
        first = self._first_name(selection.backend)
        name = renamed(selection.name, selection.backend, first)
        names = recorded_names(first, name) if name else ("",)
        found = [replace(selection, backend=first, name=each) for each in names]
        return [_id_of(owner, request.url, each) for each in found]

    async def remove(self, caller: Principal, id_: str) -> None:
        """End a subscription. Raises NOT_FOUND if the caller has none with this id."""
        if not await self._store.remove(id_, Owner.of(caller)):
            raise no_webhook(id_)

    async def get(self, caller: Principal, id_: str) -> Subscription:
        """Return a subscription. Raises NOT_FOUND if the caller has none with this id."""
        found = await self._store.get(id_, Owner.of(caller))
        if found is None or found.face != "rest":
            raise no_webhook(id_)
        return found

    async def page(self, caller: Principal, after: str, limit: int) -> list[Subscription]:
        """Return the webhooks of REST of a caller in the order of their ids, after an id."""
        return await self._store.page(Owner.of(caller), "rest", after, limit)

    async def set_state(self, caller: Principal, id_: str, state: SubscriptionState) -> None:
        """Disable or enable a webhook of REST."""
        await self.get(caller, id_)
        await self._store.set_state(id_, state, "by its owner" if state.value != "active" else "")

    async def rotate(
        self, caller: Principal, id_: str, secret: SecretStr | None = None
    ) -> SecretStr:
        """Give a webhook another secret, by default a new one. Older ones sign for 24 hours.

        Raises INVALID_ARGUMENT for a wrong secret.
        """
        before = await self.get(caller, id_)
        if secret is None:
            secret = SecretStr(new_secret())
        _check_secret(secret)
        rotated = self._secrets.rotated(before, self._secrets.seal(id_, secret))
        await self._store.set_secrets(id_, rotated.secrets, rotated.old_until)
        return secret

    def secrets_of(self, subscription: Subscription) -> Sequence[str]:
        """Return the secrets that sign now, as `SealedSecrets.opened` does."""
        return self._secrets.opened(subscription)

    def may_subscribe(self, caller: Principal) -> bool:
        """Return whether a caller may have webhooks: whether it has an identity, or needs none."""
        return any(caller.identity) or self._rules.anonymous

    def check_caller(self, caller: Principal) -> None:
        """Raise PERMISSION_DENIED if a caller may not have webhooks."""
        if not self.may_subscribe(caller):
            raise status_error(
                Code.PERMISSION_DENIED,
                "a webhook needs a caller with an identity, because it outlives the connection;"
                " poll, stream or wait instead, configure [auth], or set deliveries.allow_anonymous"
                " if only this machine can reach the gateway",
                "WEBHOOK_NEEDS_IDENTITY",
            )

    def _check(self, caller: Principal, request: WebhookRequest) -> None:
        self.check_caller(caller)
        http = self._rules.http and request.face == "rest"
        if problem := check_url(request.url, self._rules.addresses, http=http):
            raise invalid_argument("url", f"the URL cannot be used: {problem}", "INVALID_URL")
        if request.secret is not None or request.face == "mcp":
            _check_secret(request.secret or SecretStr(""))


def _check_secret(secret: SecretStr) -> None:
    if not is_secret(secret.get_secret_value()):
        raise invalid_argument(
            "secret",
            "a secret is needed: whsec_ and the base64 of 24 to 64 random bytes",
            "INVALID_SECRET",
        )


def no_webhook(id_: str) -> StatusError:
    """Return the error for a webhook that does not exist for a caller."""
    return status_error(
        Code.NOT_FOUND,
        "there is no such webhook; list yours to see their ids",
        "WEBHOOK_NOT_FOUND",
        metadata={"webhook": id_[:100]},
    )


def _renewed(before: Subscription, after: Subscription, sealed: SealedSecrets) -> Subscription:
    """Return a renewed subscription, which keeps its history. A replaced secret still signs."""
    rotated = sealed.rotated(before, after.secrets[0])
    return replace(
        after,
        secrets=rotated.secrets,
        old_until=rotated.old_until,
        created=before.created,
        delivered=before.delivered,
        failing=before.failing,
        error=before.error,
        lost=before.lost,
        throttled_until=before.throttled_until,
    )


def _id_of(owner: Owner, url: str, selection: Selection) -> str:
    what = [
        *(owner.issuer, owner.subject, owner.tenant, url),
        *(selection.kinds, selection.backend, selection.name, selection.method),
        *(selection.states, selection.mine),
    ]
    return f"sub_{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:40]}"
