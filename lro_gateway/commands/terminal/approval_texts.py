"""Calls that need an approval, as people at a terminal read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lro_gateway.commands.terminal.description import (
    Moment,
    error_text,
    facts_table,
    heading,
    tree,
)
from lro_gateway.commands.terminal.table import Column, fitted
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
_FAILED: Final = "failed"
_LEFT_OUT: Final = ("BACKEND", "EXPIRES", "ASKED BY", "METHOD")
"""The columns that a narrow terminal leaves out, the first of them first."""
_OPEN: Final = frozenset({"pending", "approved"})
"""The states in which a call can still expire."""


def approvals_table(
    found: Sequence[Mapping[str, Any]], now: dt.datetime, width: int | None
) -> Table:
    """Return the calls as a table for a terminal of a width, or for a pipe without a width.

    EXPIRES is empty for a call that cannot expire any more. An id is never cut.
    """
    names = [escaped(each["name"]) for each in found]
    states = [each["state"].lower() for each in found]
    return fitted(
        [Column("NAME", names)],
        [Column("ID", [each.rpartition("/")[2] for each in names])],
        [
            Column("STATE", [*map(escaped, states)], styles=[*map(_style, states)]),
            Column("METHOD", [escaped(_method(each)) for each in found], is_elastic=True),
            Column("BACKEND", [escaped(each["backend"]) for each in found]),
            Column(
                "ASKED BY", [escaped(_caller(each["requester"])) for each in found], is_elastic=True
            ),
            Column("EXPIRES", [_expiry(each, now) for each in found]),
        ],
        width,
        _LEFT_OUT,
    )


def _expiry(call: Mapping[str, Any], now: dt.datetime) -> str:
    expires = parsed_time(call["expireTime"]) if call["state"].lower() in _OPEN else None
    return "" if expires is None else relative(expires, now)


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
    # A google.protobuf.Struct has no order of its own.
    shown = Text("It cannot be read.") if request is None else tree(_sorted(request))
    parts: list[RenderableType] = [facts, heading("Request"), Padding.indent(shown, 2)]
    if state == _FAILED:
        parts += [heading("Error"), Padding.indent(error_text(handle["error"]), 2)]
    # The response of a call that has started an operation is empty.
    if (result := handle.get("response")) and not operation:
        parts += [heading("Result"), Padding.indent(tree(result), 2)]
    return Group(*parts)


def approval_times(call: Mapping[str, Any]) -> Sequence[Moment]:
    """Return when a call that was approved was asked for and when it was approved, and by whom."""
    moments = (
        (call["createTime"], "request for an approval", call["requester"]),
        (call.get("decideTime"), "approval", call.get("decider", {})),
    )
    return [
        (time, f"{words} by {escaped(_caller(who))}")
        for text, words, who in moments
        if (time := parsed_time(text)) is not None
    ]


def _sorted(value: Any) -> Any:
    """Return a JSON value with sorted keys."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def _state(state: str) -> Text:
    return Text(escaped(state), style=_style(state))


def _style(state: str) -> str:
    return _STYLES.get(state, _OVER)


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
