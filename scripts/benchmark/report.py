"""The results of a run: tables, targets that are reached or missed, and a JSON document."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

_PACKAGES: Final = (
    *("fastapi", "grpcio", "httptools", "lro-gateway", "mcp"),
    *("protobuf", "pydantic", "uvicorn", "uvloop"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """One measured figure, its target, and its spread over the rounds."""

    measure: str
    to_reach: str
    measured: str
    spread: str
    reached: bool


@dataclass(frozen=True, slots=True)
class Part:
    """The results of one measurement. `document` has the entries for the JSON document."""

    document: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)


def at_most(
    measure: str, limit: float, unit: str, value: float, spread: str = "", form: str = ".2f"
) -> Target:
    """Return the target of a figure that may not be more than `limit`."""
    unit = f" {unit}" if unit else ""
    return Target(measure, f"<= {limit:g}{unit}", f"{value:{form}}{unit}", spread, value <= limit)


def at_least(measure: str, limit: float, values: Sequence[float], note: str = "") -> Target:
    """Return the target of ratios whose median may not be less than `limit`."""
    middle = median(values)
    shown = f"{spread(values)}{note}"
    return Target(measure, f">= {limit:g}", f"{middle:.2f}", shown, middle >= limit)


def spread(values: Sequence[float]) -> str:
    """Return the smallest and the largest of the values, as text."""
    return f"{min(values):.2f} to {max(values):.2f}"


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> Table:
    """Return a table. A column without a heading has text; every other column has figures."""
    made = Table(title=title, title_justify="left")
    for heading in headings:
        made.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def show(parts: Iterable[Part], console: Console) -> None:
    """Print every table, the targets last."""
    targets = table("Targets", ("", "to reach", "measured", "spread", ""))
    for part in parts:
        for each in part.tables:
            console.print(each)
        for target in part.targets:
            mark = "[green]pass[/]" if target.reached else "[red]short[/]"
            targets.add_row(target.measure, target.to_reach, target.measured, target.spread, mark)
    console.print(targets)


def write(settings: dict[str, Any], parts: Sequence[Part], file: Path) -> None:
    """Write the settings and all results as JSON, with the figures of each round."""
    document: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "packages": {name: version(name) for name in _PACKAGES},
        "settings": settings,
    }
    for part in parts:
        document |= part.document
    document["targets"] = [asdict(target) for part in parts for target in part.targets]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")
