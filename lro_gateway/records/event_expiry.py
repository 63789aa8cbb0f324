"""Which events, deliveries, trackers and subscriptions expire."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from lro_gateway.records.event_entries import RETENTION
from lro_gateway.records.event_schema import DELIVERIES, EVENTS, SUBSCRIPTIONS, TRACKERS
from lro_gateway.records.sweeper import Expiring


def expiring() -> Sequence[Expiring]:
    """Return what the sweeper deletes."""
    return (
        Expiring(DELIVERIES, _old_deliveries),
        Expiring(EVENTS, _old_events),
        Expiring(TRACKERS, lambda _, time: TRACKERS.c.finished < time - RETENTION),
        Expiring(SUBSCRIPTIONS, lambda _, time: SUBSCRIPTIONS.c.expires < time - RETENTION),
    )


def _old_deliveries(_connection: Connection, time: dt.datetime) -> ColumnElement[bool]:
    return (DELIVERIES.c.created < time - RETENTION) & (DELIVERIES.c.state != "pending")


def _old_events(_connection: Connection, time: dt.datetime) -> ColumnElement[bool]:
    """Return the condition of old events. One that has a delivery may be sent again."""
    has_delivery = sa.select(DELIVERIES.c.id).where(DELIVERIES.c.event == EVENTS.c.id).exists()
    return (EVENTS.c.at < time - RETENTION) & ~has_delivery
