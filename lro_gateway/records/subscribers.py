"""Which webhooks get an event, asked once for many events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import Event, SubscriptionState
from lro_gateway.records.event_rows import selection_of
from lro_gateway.records.event_schema import SUBSCRIPTIONS
from lro_gateway.records.owners import Owner

_S: Final = SUBSCRIPTIONS.c
_TIME: Final = sa.bindparam("time", type_=_S.expires.type)
_KIND: Final = sa.bindparam("kind", type_=_S.kinds.type)
_CANDIDATES: Final = sa.select(
    *(_S.id, _S.issuer, _S.subject, _S.tenant),
    *(_S.kinds, _S.backend, _S.name, _S.method, _S.states, _S.mine),
).where(
    sa.or_(
        _S.name == "",
        _S.backend.in_(sa.bindparam("backends", expanding=True))
        & _S.name.in_(sa.bindparam("names", expanding=True)),
    ),
    _S.state == SubscriptionState.ACTIVE.value,
    _S.url != "",
    sa.or_(_S.expires.is_(None), _S.expires > _TIME),
    # The kinds are a JSON array of texts.
    sa.or_(_S.kinds == "[]", _S.kinds.contains(sa.literal('"') + _KIND + sa.literal('"'))),
)
"""The webhooks that may get an event of one kind. A statement that is made once takes a third of
the time of one that is made for each event."""


def subscribers(connection: Connection, events: Sequence[Event]) -> list[list[str]]:
    """Return the ids of the webhooks that get each event."""
    by_kind: defaultdict[str, list[int]] = defaultdict(list)
    for at, event in enumerate(events):
        by_kind[event.kind].append(at)
    found: list[list[str]] = [[] for _ in events]
    for kind, places in by_kind.items():
        for row in _candidates(connection, kind, [events[at] for at in places]):
            selection = selection_of(row)
            subscriber = Owner(row.issuer, row.subject, row.tenant)
            for at in places:
                if selection.has(events[at], subscriber):
                    found[at].append(row.id)
    return found


def _candidates(connection: Connection, kind: str, events: Sequence[Event]) -> Sequence[Any]:
    values = {
        "kind": kind,
        "backends": sorted({each.target.backend for each in events}),
        "names": sorted({name for each in events for name in each.target.names}),
        "time": now(),
    }
    return connection.execute(_CANDIDATES, values).all()
