"""What was measured: as tables to read, and as JSON to keep."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from scripts.benchmark.following import Following
from scripts.benchmark.listing import Listing
from scripts.benchmark.rates import Ratio, Row, ratios
from scripts.benchmark.verdicts import Results, Verdict, spread, verdicts
from scripts.benchmark.watching import Watching

_PACKAGES: Final = (
    *("fastapi", "grpcio", "httptools", "lro-gateway", "mcp"),
    *("protobuf", "pydantic", "uvicorn", "uvloop"),
)


def show(results: Results, console: Console) -> None:
    """Print the tables."""
    console.print(_rates_table(results.rows))
    console.print(_listing_table(results.listing))
    console.print(_watching_table(results.watching))
    if results.following:
        console.print(_following_table(results.following))
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
    for heading in ("conns", *(figure.heading for figure in _FIGURES), "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    of_other = {(r.contender.key, r.connections): f"{r.median:.2f}" for r in ratios(rows)}
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        table.add_row(
            row.contender.title,
            str(row.connections),
            *(figure.text(row) for figure in _FIGURES),
            of_other.get((row.contender.key, row.connections), ""),
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
        table.add_row(title, f"{median(values):.2f}", spread(values))
    return table


def _watching_table(watching: Watching) -> Table:
    table = Table(title="Changes to SSE readers, by WaitOperation", title_justify="left")
    for heading in ("readers", "changes", "RPCs", "to the last, p50 ms", "p99 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in (watching.one, watching.many):
        table.add_row(
            f"{each.readers:,}",
            f"{len(each.delays_ms)}",
            f"{each.rpcs}",
            f"{median(each.delays_ms):.2f}",
            f"{each.p99_ms:.2f}",
        )
    return table


def _following_table(following: list[Following]) -> Table:
    table = Table(
        title=f"Watches of one process, every {following[0].interval:g} s",
        title_justify="left",
    )
    for heading in ("operations", "KB each", "cores", "looks/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in following:
        table.add_row(
            f"{each.operations:,}",
            f"{each.kilobytes_each:.2f}",
            f"{each.cpu:.3f}",
            f"{each.looks_per_second:.0f}",
        )
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
        "watching": {
            **asdict(results.watching),
            "rpc_ratio": results.watching.rpc_ratio,
            "p99_ms": results.watching.many.p99_ms,
        },
        "following": [asdict(each) for each in results.following],
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
        "other": ratio.other.key,
        "connections": ratio.connections,
        "median": ratio.median,
        "rounds": ratio.of_rounds,
    }
