"""The description of one operation: its name, state, progress and timeline, and its result."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lro_gateway.commands.terminal.error_details import lines_of
from lro_gateway.commands.terminal.rows import STYLES, Row, code_of
from lro_gateway.commands.terminal.times import clock, parsed_time, relative
from lro_gateway.errors import escaped

_TIME_FIELD: Final = re.compile(r"(?:_time|Time|_at|At)\Z")
_LABELS: Final = ("name", "stage", "step", "phase", "state", "displayName", "description")
"""The fields that name a stage which is a message with times of its own."""
_BAR: Final = 40
_WIDEST: Final = 10_000
"""The length of a line of YAML, because the console folds lines for its own width."""
_MAX_TIMES: Final = 50
_MAX_DEPTH: Final = 6


Moment = tuple[dt.datetime, str]
"""A time, and the words for what happened then."""


def description_of(
    operation: Mapping[str, Any], now: dt.datetime, others: Sequence[Moment] = ()
) -> RenderableType:
    """Return what a person wants to know about an operation, in sections.

    `others` are further moments of its timeline, which neither its metadata nor its summary has.
    """
    row = Row.of(operation)
    parts: list[RenderableType] = [_facts(row, now)]
    if times := sorted([*others, *_all_times(operation.get("metadata", {}), row)]):
        parts += [heading("Timeline"), _timeline(times, now)]
    if error := operation.get("error"):
        parts += [heading("Error"), Padding.indent(error_text(error), 2)]
    for section in ("response", "metadata"):
        if value := operation.get(section):
            title = "Result" if section == "response" else "Metadata"
            parts += [heading(title), Padding.indent(tree(value), 2)]
    return Group(*parts)


def heading(title: str) -> Text:
    """Return the title of a section."""
    return Text(f"\n{title}", style="bold")


def facts_table() -> Table:
    """Return an empty table of facts, with the name of each in bold and then its value."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    return facts


def _facts(row: Row, now: dt.datetime) -> Table:
    facts = facts_table()
    facts.add_row("Operation", Text(row.name))
    if row.kind:
        facts.add_row("Method", Text(row.kind))
    facts.add_row("Backend", Text(row.backend))
    facts.add_row("State", Text(row.lasting(now), style=STYLES[row.state]))
    if row.percent is not None:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=100, completed=row.percent, width=_BAR), row.percentage)
        facts.add_row("Progress", bar)
    if row.text:
        facts.add_row("Status", Text(row.text))
    if row.archived is not None:
        facts.add_row("Archived", f"{relative(row.archived, now)}; this is the gateway's copy")
    return facts


def _all_times(metadata: Any, row: Row) -> list[Moment]:
    """Return the times in the metadata, and those that only the gateway knows, with their words."""
    times = [*_times(metadata)]
    known = {time for time, _ in times}
    change = "last change" if row.state == "running" else "end"
    if row.created is not None and row.created not in known:
        times.append((row.created, "start through the gateway"))
    if row.updated is not None and row.updated not in known:
        times.append((row.updated, f"{change} that the gateway saw"))
    return times


def _times(value: Any, label: str = "", depth: int = 0) -> Iterator[Moment]:
    """Yield each time in a message, with the words for it."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for each in value[:_MAX_TIMES]:
            yield from _times(each, label, depth + 1)
    if not isinstance(value, Mapping):
        return
    named = next((str(value[key]) for key in _LABELS if isinstance(value.get(key), str)), "")
    for key, each in value.items():
        time = parsed_time(each) if _TIME_FIELD.search(key) else None
        if time is not None:
            # The metadata's own name or state would say the same on each line.
            subject = named if depth else ""
            yield time, escaped(" ".join(filter(None, [subject, _words(key)])))
        elif not key.startswith("@"):
            yield from _times(each, key, depth + 1)


def _words(field: str) -> str:
    """Return a field's name in words, such as `create time` for createTime."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", field).lower()


def _timeline(times: Sequence[Moment], now: dt.datetime) -> RenderableType:
    lines = Table.grid(padding=(0, 2))
    for time, label in times[:_MAX_TIMES]:
        lines.add_row(f"  {clock(time)}", relative(time, now), Text(label))
    return lines


def error_text(error: Mapping[str, Any]) -> Text:
    """Return a google.rpc.Status with its details as lines."""
    lines = [f"{code_of(error)}: {error.get('message', '')}"]
    lines += lines_of(error.get("details", ()))
    return Text("\n".join(escaped(line) for line in lines))


def tree(value: Any) -> Text:
    """Return a JSON value as YAML, which people read more easily than JSON."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=_WIDEST)
    return Text("\n".join(escaped(line) for line in text.rstrip("\n").split("\n")))
