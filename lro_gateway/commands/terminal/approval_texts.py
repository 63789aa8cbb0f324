"""Calls that need an approval, as people at a terminal read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lro_gateway.commands.terminal.description import facts_table, heading, tree
from lro_gateway.commands.terminal.times import clock, parsed_time, relative
from lro_gateway.errors import escaped

_STYLES: Final = {
    "pending": "yellow",
    "approved": "cyan",
    "starting": "cyan",
    "started": "green",
}
_OVER: Final = "red"
"""The colour of all other states, in which the call was not made, or failed."""
_TITLES: Final = ("NAME", "STATE", "METHOD", "BACKEND", "ASKED BY", "EXPIRES")
_OPEN: Final = frozenset({"pending", "approved"})
"""The states in which a call can still expire."""


def approvals_table(found: Sequence[Mapping[str, Any]], now: dt.datetime) -> Table:
    """Return the calls as a table. EXPIRES is empty for a call that cannot expire any more."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in _TITLES:
        table.add_column(title, overflow="fold")
    for each in found:
        state = each["state"].lower()
        expires = parsed_time(each["expireTime"]) if state in _OPEN else None
        table.add_row(
            Text(escaped(each["name"])),
            _state(state),
            Text(escaped(_method(each))),
            Text(escaped(each["backend"])),
            Text(escaped(_caller(each["requester"]))),
            "" if expires is None else relative(expires, now),
        )
    return table


def approval_text(handle: Mapping[str, Any], now: dt.datetime) -> RenderableType:
    """Return what a person needs to know before the decision, and what has become of the call."""
    call = handle["metadata"]
    state = call["state"].lower()
    facts = facts_table()
    facts.add_row("Approval", Text(escaped(handle["name"])))
    facts.add_row("Method", Text(escaped(call["method"])))
    facts.add_row("Backend", Text(escaped(call["backend"])))
    facts.add_row("State", _state(state))
    facts.add_row("", Text(escaped(call["statusMessage"])))
    for title, who, when in (
        ("Asked by", call["requester"], call["createTime"]),
        ("Decided by", call.get("decider"), call.get("decideTime")),
    ):
        if who is not None:
            facts.add_row(title, Text(escaped(f"{_caller(who)}, {_moment(when, now)}")))
    if state in _OPEN:
        facts.add_row("Expires", _moment(call["expireTime"], now))
    if operation := call.get("operation"):
        facts.add_row("Operation", Text(escaped(operation)))
    request = call.get("request")
    # A google.protobuf.Struct has no order of its own, and no integers.
    shown = Text("It cannot be read.") if request is None else tree(_plain(request))
    return Group(facts, heading("Request"), Padding.indent(shown, 2))


def _plain(value: Any) -> Any:
    """Return a Struct in JSON with sorted keys, and with whole numbers as integers."""
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _state(state: str) -> Text:
    return Text(escaped(state), style=_STYLES.get(state, _OVER))


def _method(call: Mapping[str, Any]) -> str:
    return str(call["method"]).rpartition("/")[2]


def _caller(identity: Mapping[str, Any]) -> str:
    """Return the subject of a caller, with its tenant if it has one."""
    subject = identity.get("subject") or "a caller without an identity"
    tenant = identity.get("tenant")
    return f"{subject}@{tenant}" if tenant else str(subject)


def _moment(value: object, now: dt.datetime) -> str:
    """Return a time as a person reads it: how far away it is, and the time itself."""
    time = parsed_time(value)
    return "" if time is None else f"{relative(time, now)} ({clock(time)})"
