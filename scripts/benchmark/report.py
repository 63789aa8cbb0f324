"""What was measured: as tables to read, and as JSON to keep."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from scripts.benchmark.footprint import (
    BACKENDS,
    MEMORY_TARGET_MB,
    START_TARGET_SECONDS,
    Memory,
    Starts,
)
from scripts.benchmark.listing import FIRST_TARGET_SECONDS, Listing
from scripts.benchmark.rates import Ratio, Row, RpcCount, ratios, rpc_counts
from scripts.benchmark.settings import Settings

_PACKAGES: Final = (
    *("fastapi", "grpcio", "httptools", "lro-gateway", "mcp"),
    *("protobuf", "pydantic", "uvicorn", "uvloop"),
)


@dataclass(frozen=True, slots=True)
class Results:
    """One run."""

    settings: Settings
    rows: list[Row]
    starts: list[Starts]
    memory: Memory | None
    listing: Listing


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: what was to be reached, what was, and in which spread."""

    measure: str
    to_reach: str
    measured: str
    spread: str
    reached: bool


def verdicts(results: Results) -> list[Verdict]:
    """Hold what was measured against the targets."""
    found = [_of_ratio(ratio) for ratio in ratios(results.rows)]
    found += [_of_rpcs(count) for count in rpc_counts(results.rows)]
    found += [_of_starts(starts) for starts in results.starts]
    if results.memory:
        found.append(_of_memory(results.memory))
    return [*found, _of_first_list(results.listing)]


def _of_ratio(ratio: Ratio) -> Verdict:
    return Verdict(
        f"{ratio.contender.title} / bare, requests/s at {ratio.connections}",
        f">= {ratio.contender.target:.2f}",
        f"{ratio.median:.2f}",
        _spread(ratio.of_rounds),
        ratio.reached,
    )


def _of_rpcs(count: RpcCount) -> Verdict:
    return Verdict(
        f"{count.contender.title}, RPCs at the backend each",
        "= 1",
        f"{median(count.of_rounds):.2f}",
        _spread(count.of_rounds),
        count.reached,
    )


def _of_starts(starts: Starts) -> Verdict:
    return Verdict(
        f"start to first {starts.protocol.upper()} answer, median of {len(starts.seconds)}",
        f"<= {START_TARGET_SECONDS:g} s",
        f"{starts.median:.2f} s",
        _spread(starts.seconds),
        starts.reached,
    )


def _of_memory(memory: Memory) -> Verdict:
    return Verdict(
        f"resident, {BACKENDS} backends, {memory.requests:,} requests",
        f"<= {MEMORY_TARGET_MB:g} MB",
        f"{memory.after:.1f} MB",
        f"{memory.at_first:.1f} to {memory.after:.1f}",
        memory.reached,
    )


def _of_first_list(listing: Listing) -> Verdict:
    return Verdict(
        f"first tools/list of {listing.methods:,} methods, median of {len(listing.first)}",
        f"<= {FIRST_TARGET_SECONDS:g} s",
        f"{median(listing.first):.2f} s",
        _spread(listing.first),
        listing.reached,
    )


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def show(results: Results, console: Console) -> None:
    """Print the tables."""
    console.print(_rates_table(results.rows))
    console.print(_listing_table(results.listing))
    console.print(_verdicts_table(verdicts(results)))


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure of a row: its name in JSON, its heading in the table, and how it is written."""

    name: str
    heading: str
    form: str

    def of(self, row: Row) -> float | None:
        """Return the median of the rounds."""
        return row.median(attrgetter(self.name))

    def text(self, row: Row) -> str:
        """Return it as the table shows it."""
        value = self.of(row)
        return "" if value is None else format(value, self.form)


_FIGURES: Final = (
    _Figure("p50_ms", "p50 ms", ".2f"),
    _Figure("p99_ms", "p99 ms", ".2f"),
    _Figure("per_second", "req/s", ",.0f"),
    _Figure("cpu_us", "CPU us", ",.0f"),
    _Figure("rpcs_per_request", "RPCs", ".2f"),
)


def _rates_table(rows: list[Row]) -> Table:
    table = Table(title="Per request; medians of the rounds", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("conns", *(figure.heading for figure in _FIGURES), "of bare"):
        table.add_column(heading, justify="right", no_wrap=True)
    of_bare = {(r.contender.key, r.connections): f"{r.median:.2f}" for r in ratios(rows)}
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        table.add_row(
            row.contender.title,
            str(row.connections),
            *(figure.text(row) for figure in _FIGURES),
            of_bare.get((row.contender.key, row.connections), ""),
            end_section=following is not None and following.connections != row.connections,
        )
    return table


def _listing_table(listing: Listing) -> Table:
    size = f"{listing.kilobytes_of_schema:.1f} kB of schema each"
    table = Table(title=f"{listing.methods:,} methods, {size}", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("median", "spread"):
        table.add_column(heading, justify="right", no_wrap=True)
    for title, values in (
        ("their schemas made, s", listing.schemas),
        ("tools/list, first, s", listing.first),
        ("tools/list, later, s", listing.later),
        ("later / first", listing.of_first),
    ):
        table.add_row(title, f"{median(values):.2f}", _spread(values))
    return table


def _verdicts_table(found: list[Verdict]) -> Table:
    table = Table(title="Targets", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("to reach", "measured", "spread"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for verdict in found:
        mark = "[green]pass[/]" if verdict.reached else "[red]short[/]"
        table.add_row(verdict.measure, verdict.to_reach, verdict.measured, verdict.spread, mark)
    return table


def write(results: Results, file: Path) -> None:
    """Write everything, each round included, as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_document(results), indent=2) + "\n")


def _document(results: Results) -> dict[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "packages": {name: version(name) for name in _PACKAGES},
        "settings": asdict(results.settings),
        "rates": [_row(row) for row in results.rows],
        "ratios": [_ratio(ratio) for ratio in ratios(results.rows)],
        "starts": [{**asdict(starts), "median": starts.median} for starts in results.starts],
        "memory": asdict(results.memory) if results.memory else None,
        "listing": {**asdict(results.listing), "of_first": results.listing.of_first},
        "targets": [asdict(verdict) for verdict in verdicts(results)],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "contender": row.contender.key,
        "title": row.contender.title,
        "connections": row.connections,
        **{figure.name: figure.of(row) for figure in _FIGURES},
        "rounds": [asdict(sample) for sample in row.samples],
    }


def _ratio(ratio: Ratio) -> dict[str, Any]:
    return {
        "contender": ratio.contender.key,
        "bare": ratio.contender.bare,
        "connections": ratio.connections,
        "median": ratio.median,
        "rounds": ratio.of_rounds,
    }
