"""Rows of the tables of events as objects, and objects as rows."""

from __future__ import annotations

import json
from functools import lru_cache
from sys import intern
from typing import Any

from lro_gateway.records.event_entries import (
    Delivery,
    DeliveryState,
    Event,
    Position,
    Selection,
    Subscription,
    SubscriptionState,
    Target,
    Tracked,
)
from lro_gateway.records.owners import Owner


def owner_values(owner: Owner) -> dict[str, Any]:
    """Return the columns of an owner."""
    return {"issuer": owner.issuer, "subject": owner.subject, "tenant": owner.tenant}


def event_values(event: Event) -> dict[str, Any]:
    """Return the row of a new event, without its position."""
    return {
        "id": event.id,
        "kind": event.kind,
        "backend": event.target.backend,
        "name": event.target.name,
        "method": event.method,
        **owner_values(event.owner),
        "number": event.number,
        "state": event.state,
        "data": event.data,
        "at": event.at,
    }


def event_of(row: Any) -> Event:
    """Return the event of a row."""
    return Event(
        row.kind,
        Target(row.backend, row.name),
        row.method,
        Owner(row.issuer, row.subject, row.tenant),
        row.number,
        row.state,
        row.data,
        row.id,
        row.at,
        Position(row.transaction, row.sequence),
    )


def tracked_of(row: Any) -> Tracked:
    """Return the last event that the tracker of a row has written.

    Many thousands of them are kept, so they share the texts that repeat.
    """
    return Tracked(
        Target(intern(row.backend), row.name),
        intern(row.method),
        Owner(intern(row.issuer), intern(row.subject), intern(row.tenant)),
        row.number,
        intern(row.state),
        intern(row.stage),
        row.percent,
    )


def subscription_values(subscription: Subscription) -> dict[str, Any]:
    """Return the row of a subscription."""
    selection = subscription.selection
    return {
        "id": subscription.id,
        "face": subscription.face,
        **owner_values(subscription.owner),
        "client": subscription.client,
        "granted": subscription.granted,
        "url": subscription.url,
        "secrets": json.dumps(subscription.secrets),
        "kinds": json.dumps(selection.kinds),
        "backend": selection.backend,
        "name": selection.name,
        "method": selection.method,
        "states": json.dumps(selection.states),
        "mine": int(selection.mine),
        "format": subscription.format,
        "state": subscription.state.value,
        "reason": subscription.reason,
        "created": subscription.created,
        "expires": subscription.expires,
        "old_until": subscription.old_until,
        "delivered": subscription.delivered,
        "failing": subscription.failing,
        "error": subscription.error,
        "throttled_until": subscription.throttled_until,
    }


def subscription_of(row: Any) -> Subscription:
    """Return the subscription of a row."""
    return Subscription(
        row.id,
        row.face,
        Owner(row.issuer, row.subject, row.tenant),
        row.client,
        row.granted,
        row.url,
        tuple(json.loads(row.secrets)),
        selection_of(row),
        row.format,
        SubscriptionState(row.state),
        row.reason,
        row.created,
        row.expires,
        row.old_until,
        row.delivered,
        row.failing,
        row.error,
        row.lost,
        row.throttled_until,
    )


def selection_of(row: Any) -> Selection:
    """Return the selection of a subscription's row."""
    return Selection(
        _texts(row.kinds),
        row.backend,
        row.name,
        row.method,
        _texts(row.states),
        bool(row.mine),
    )


@lru_cache
def _texts(array: str) -> tuple[str, ...]:
    # Most subscriptions have the same few ones.
    return tuple(json.loads(array))


def delivery_values(delivery: Delivery, replica: str, version: int) -> dict[str, Any]:
    """Return the row of a new delivery, with the process and the version that send it."""
    return {
        "id": delivery.id,
        "subscription": delivery.subscription,
        "event": delivery.event.id,
        "replica": replica,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "due": delivery.due,
        "status": delivery.status,
        "error": delivery.error,
        "created": delivery.due,
        "finished": delivery.finished,
        "version": version,
    }


def delivery_of(row: Any, event: Event) -> Delivery:
    """Return the delivery of a row."""
    return Delivery(
        row.delivery,
        row.subscription,
        event,
        row.attempts,
        row.due,
        DeliveryState(row.delivery_state),
        row.status,
        row.error,
        row.finished,
    )
