"""The command `scripts/bench`: it measures, prints tables and writes the figures as JSON."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from scripts.benchmark.callers import measure_callers
from scripts.benchmark.economy import measure_economy
from scripts.benchmark.events import measure_events
from scripts.benchmark.footprint import measure_memory, measure_starts
from scripts.benchmark.polling import measure_polling
from scripts.benchmark.processes import ProcessError, allow_files
from scripts.benchmark.rates import measure_rates
from scripts.benchmark.report import Part, show, write
from scripts.benchmark.requests import WrongAnswerError
from scripts.benchmark.schemas import measure_schemas
from scripts.benchmark.store import measure_store
from scripts.benchmark.watching import measure_watching

_INTERRUPTED: Final = 130
_NARROWEST: Final = 110

_stdout = Console(highlight=False)
_stdout.width = max(_stdout.width, _NARROWEST)
_stderr = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """The amounts of work in a run.

    Each contender is measured for `seconds` in each of the `rounds`. `watched` lists numbers of
    operations. For each number, the benchmark watches so many operations at the same time, polls
    each of them every `watched_every` seconds, and measures them for `watched_for` seconds.
    """

    rounds: int
    seconds: float
    connections: tuple[int, ...] = (1, 16, 64)
    starts: int = 5
    memory_requests: int = 1_000
    listings: int = 3
    readers: int = 1_000
    changes: int = 50
    watched: tuple[int, ...] = (1_000, 10_000)
    watched_every: float = 30.0
    watched_for: float = 10.0


QUICK: Final = Settings(
    rounds=1,
    seconds=0.2,
    connections=(1, 4),
    starts=1,
    memory_requests=100,
    listings=1,
    readers=50,
    changes=5,
    watched=(100, 1_000),
    watched_every=3.0,
    watched_for=2.0,
)


app = typer.Typer(add_completion=False, invoke_without_command=True)


@app.command()
def economy(
    output: Annotated[Path, typer.Option(help="The file for the JSON.")] = Path(
        "build/economy.json"
    ),
) -> None:
    """Measure what a model pays: the tokens of the tools, and of following an operation."""
    _report(_measure_economy, {}, output)


@app.command()
def store(
    output: Annotated[Path, typer.Option(help="The file for the JSON.")] = Path("build/store.json"),
    rounds: Annotated[int, typer.Option(min=1, max=100, help="The number of pairs.")] = 5,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds of calls of each gateway of a pair.")
    ] = 3.0,
    rows: Annotated[int, typer.Option(min=1000, help="The rows of the full store.")] = 1_000_000,
) -> None:
    """Measure the store on SQLite and PostgreSQL: memory, starts, owned reads, very many rows."""
    settings = {"rounds": rounds, "seconds": seconds, "rows": rows}
    _report(partial(_measure_store, rounds, seconds, rows), settings, output)


@app.command()
def callers(
    output: Annotated[Path, typer.Option(help="The file for the JSON.")] = Path(
        "build/callers.json"
    ),
    streams: Annotated[int, typer.Option(min=1, help="Principals with a stream.")] = 1_000,
    pairs: Annotated[int, typer.Option(min=1, help="Refused reads of each kind.")] = 3_000,
) -> None:
    """Measure callers: the memory of their streams, and the time of what is hidden and missing."""
    settings = {"streams": streams, "pairs": pairs}
    _report(partial(_measure_callers, streams, pairs), settings, output)


@app.command()
def events(
    output: Annotated[Path, typer.Option(help="The file for the JSON.")] = Path(
        "build/events.json"
    ),
    rounds: Annotated[int, typer.Option(min=0, max=100, help="The number of pairs.")] = 3,
    operations: Annotated[
        int, typer.Option(min=0, help="The operations with webhooks that one gateway follows.")
    ] = 10_000,
    seconds: Annotated[
        float, typer.Option(min=1, max=600, help="Seconds for which these are measured.")
    ] = 30.0,
    reads: Annotated[
        int, typer.Option(min=0, max=90, help="The number of pairs of reads beside trackers.")
    ] = 30,
) -> None:
    """Measure events on SQLite and PostgreSQL: latency, receivers that hang, reads and memory."""
    settings = {"rounds": rounds, "operations": operations, "seconds": seconds, "reads": reads}
    _report(partial(_measure_events, rounds, operations, seconds, reads), settings, output)


@app.callback()
def main(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="The file for the JSON.")] = Path("build/bench.json"),
    rounds: Annotated[
        int, typer.Option(min=1, max=100, help="The number of measurements of each contender.")
    ] = 7,
    seconds: Annotated[
        float,
        typer.Option(min=0.1, max=60, help="Seconds for which each round measures a contender."),
    ] = 0.5,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="A test run of a few seconds; its figures mean little.")
    ] = False,
) -> None:
    """Measure the gateway beside minimal servers that do the same work, on loopback."""
    if context.invoked_subcommand is None:
        settings = QUICK if quick else Settings(rounds, seconds)
        _report(partial(_measure, settings), asdict(settings), output)


def _report(
    measure: Callable[[], Coroutine[Any, Any, list[Part]]], settings: dict[str, Any], output: Path
) -> None:
    """Measure, print the results, and write them."""
    try:
        parts = asyncio.run(measure())
    except WrongAnswerError as error:
        raise _failed(f"a wrong answer: {error}") from None
    except (OSError, ProcessError) as error:
        raise _failed(str(error)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(_INTERRUPTED) from None
    show(parts, _stdout)
    write(settings, parts, output)
    _stdout.print(f"written to {output}")


def _failed(reason: str) -> typer.Exit:
    _stderr.print(f"scripts/bench: {reason}", style="red", soft_wrap=True, markup=False)
    return typer.Exit(1)


async def _measure_economy() -> list[Part]:
    _treat_sigterm_as_ctrl_c()
    return [await measure_economy()]


async def _measure_callers(streams: int, pairs: int) -> list[Part]:
    _treat_sigterm_as_ctrl_c()
    allow_files(2 * streams + 100)
    return [await measure_callers(streams, pairs)]


async def _measure_store(rounds: int, seconds: float, rows: int) -> list[Part]:
    _treat_sigterm_as_ctrl_c()
    return [await measure_store(rounds, seconds, rows)]


async def _measure_events(rounds: int, operations: int, seconds: float, reads: int) -> list[Part]:
    _treat_sigterm_as_ctrl_c()
    return [await measure_events(rounds, operations, seconds, reads)]


async def _measure(settings: Settings) -> list[Part]:
    """Return the results in the order of the printed tables; rates are measured last."""
    _treat_sigterm_as_ctrl_c()
    # The gateway and the program of the readers inherit this limit of open files. Each process has
    # one connection for each reader.
    allow_files(2 * settings.readers + 100)
    watched = (settings.watched, settings.watched_every, settings.watched_for)
    parts = []
    for name, measure in {
        "starts": partial(measure_starts, settings.starts),
        "memory": partial(measure_memory, settings.memory_requests),
        "lists": partial(measure_schemas, settings.listings),
        "watches": partial(measure_watching, settings.readers, settings.changes),
        "very many watches": partial(measure_polling, *watched),
    }.items():
        _print_step(name)
        parts.append(await measure())
    rates = await measure_rates(
        settings.rounds, settings.seconds, settings.connections, _print_step
    )
    return [rates, *parts]


def _treat_sigterm_as_ctrl_c() -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _print_step(step: str) -> None:
    _stderr.print(f"scripts/bench: {step}", style="dim")


if __name__ == "__main__":
    app()
