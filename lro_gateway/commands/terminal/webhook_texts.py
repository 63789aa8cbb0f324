"""Webhooks and their deliveries, as people at a terminal read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from lro_gateway.commands.terminal.description import facts_table
from lro_gateway.commands.terminal.table import Column, fitted
from lro_gateway.commands.terminal.times import clock, parsed_time, relative
from lro_gateway.errors import escaped

_STYLES: Final = {
    "active": "green",
    "disabled": "yellow",
    "suspended": "red",
    "delivered": "green",
    "pending": "cyan",
    "dead": "red",
}
_ACTIVE: Final = "active"
_LEFT_OUT: Final = ("LAST DELIVERY", "SELECTS", "EVENTS", "URL")
"""The columns of webhooks that a narrow terminal leaves out, the first of them first."""
_LEFT_OUT_OF_DELIVERIES: Final = ("HTTP", "ATTEMPTS", "EVENT", "WHEN", "OPERATION", "ERROR")
_SELECTING: Final = ("operation", "backend", "method", "states")
_EVERYTHING: Final = "all that you may read"
_FACTS: Final = (
    ("Webhook", "id"),
    ("URL", "url"),
    ("Format", "format"),
    ("Reason", "reason"),
    ("Last error", "lastError"),
)


def webhooks_table(
    found: Sequence[Mapping[str, Any]], now: dt.datetime, width: int | None
) -> Table:
    """Return webhooks as a table for a terminal of a width, or for a pipe without a width."""
    ids = Column("ID", [escaped(each["id"]) for each in found])
    states = [*map(_state, found)]
    return fitted(
        [ids],
        [ids],
        [
            Column("STATE", states, styles=[*map(_style, states)]),
            Column("EVENTS", [_listed(each["events"]) for each in found], is_elastic=True),
            Column("SELECTS", [_selection(each) for each in found], is_elastic=True),
            Column("LAST DELIVERY", [_ago(each.get("lastDeliveryTime"), now) for each in found]),
            # The last column is the first to get room that is left.
            Column("URL", [escaped(each["url"]) for each in found], is_elastic=True),
        ],
        width,
        _LEFT_OUT,
    )


def webhook_text(webhook: Mapping[str, Any], now: dt.datetime) -> Table:
    """Return what a person wants to know about a webhook, with its secret if it has one."""
    facts = facts_table()
    for title, key in _FACTS:
        if key in webhook:
            facts.add_row(title, Text(escaped(webhook[key])))
    facts.add_row("Events", Text(_listed(webhook["events"])))
    facts.add_row("Selects", Text(_selection(webhook)))
    facts.add_row("State", Text(_state(webhook), style=_style(_state(webhook))))
    for title, key in (
        ("Created", "createTime"),
        ("Last delivery", "lastDeliveryTime"),
        ("Failing since", "failingSince"),
        ("Waits until", "throttledUntil"),
    ):
        if (time := parsed_time(webhook.get(key))) is not None:
            facts.add_row(title, f"{relative(time, now)} ({clock(time)})")
    if secret := webhook.get("secret"):
        facts.add_row("Secret", Text(escaped(secret)))
    return facts


def deliveries_table(
    found: Sequence[Mapping[str, Any]], now: dt.datetime, width: int | None
) -> Table:
    """Return deliveries as a table. WHEN is the end of a delivery, or its next attempt."""
    ids = Column("ID", [escaped(each["id"]) for each in found])
    states = [each["state"] for each in found]
    times = [each.get("endTime") or each.get("nextAttemptTime") for each in found]
    operations = [escaped(each.get("operation", "")) for each in found]
    return fitted(
        [ids],
        [ids],
        [
            Column("STATE", states, styles=[*map(_style, states)]),
            Column("EVENT", [escaped(each.get("kind", "")) for each in found], is_elastic=True),
            Column("OPERATION", operations, is_elastic=True, keeps_end=True),
            Column("ATTEMPTS", [str(each["attempts"]) for each in found], justify="right"),
            Column("WHEN", [_ago(each, now) for each in times]),
            Column("HTTP", [str(each.get("status", "")) for each in found], justify="right"),
            Column("ERROR", [escaped(each.get("error", "")) for each in found], is_elastic=True),
        ],
        width,
        _LEFT_OUT_OF_DELIVERIES,
    )


def _listed(texts: Sequence[str]) -> str:
    return escaped(", ".join(texts))


def _selection(webhook: Mapping[str, Any]) -> str:
    """Return the selection of a webhook, in words."""
    parts = [
        f"{key} {value if isinstance(value, str) else ', '.join(value)}"
        for key in _SELECTING
        if (value := webhook.get(key))
    ]
    return escaped("; ".join([*parts, *(["mine"] if webhook.get("mine") else [])]) or _EVERYTHING)


def _state(webhook: Mapping[str, Any]) -> str:
    """Return the state, or `failing` for an active webhook whose deliveries fail."""
    state = str(webhook["state"])
    return "failing" if state == _ACTIVE and "failingSince" in webhook else state


def _style(state: str) -> str:
    return _STYLES.get(state, "red")


def _ago(value: object, now: dt.datetime) -> str:
    time = parsed_time(value)
    return "" if time is None else relative(time, now)
