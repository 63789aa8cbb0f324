"""The command: measures everything, prints the tables, writes the JSON."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scripts.benchmark.answers import WrongAnswerError
from scripts.benchmark.following import measure_following
from scripts.benchmark.footprint import measure_memory, measure_starts
from scripts.benchmark.listing import measure_listing
from scripts.benchmark.processes import ProcessError
from scripts.benchmark.rates import measure_rates
from scripts.benchmark.report import show, write
from scripts.benchmark.settings import QUICK, Settings
from scripts.benchmark.usage import allow_files
from scripts.benchmark.verdicts import Results
from scripts.benchmark.watching import measure_watching

_INTERRUPTED = 130

_NARROWEST = 110

_stdout = Console(highlight=False)
_stdout.width = max(_stdout.width, _NARROWEST)
_stderr = Console(stderr=True, highlight=False)


def main(
    output: Annotated[Path, typer.Option(help="Where to write the JSON.")] = Path(
        "build/bench.json"
    ),
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Turns of each contender.")] = 7,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=60, help="How long each turn is measured.")
    ] = 0.5,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke run of a few seconds; its figures mean little.")
    ] = False,
) -> None:
    """Measure the gateway beside the least that could do the same: one run, on loopback."""
    try:
        results = asyncio.run(_measure(QUICK if quick else Settings(rounds, seconds)))
    except WrongAnswerError as error:
        raise _failed(f"a wrong answer: {error}") from None
    except (OSError, ProcessError) as error:
        raise _failed(str(error)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(_INTERRUPTED) from None
    show(results, _stdout)
    write(results, output)
    _stdout.print(f"written to {output}")


def _failed(why: str) -> typer.Exit:
    _stderr.print(f"scripts/bench: {why}", style="red", soft_wrap=True, markup=False)
    return typer.Exit(1)


async def _measure(settings: Settings) -> Results:
    _treat_sigterm_as_ctrl_c()
    # Its programs inherit the limit: one of the readers, one of the gateway for each of them.
    allow_files(2 * settings.readers + 100)
    _tell("starts")
    starts = await measure_starts(settings.starts)
    _tell("memory")
    memory = await measure_memory(settings.memory_requests)
    _tell("lists")
    listing = await measure_listing(settings.listings)
    _tell("watches")
    watching = await measure_watching(settings.readers, settings.changes)
    _tell("very many watches")
    following = await measure_following(
        settings.watched, settings.watched_every, settings.watched_for
    )
    rows = await measure_rates(settings.rounds, settings.seconds, settings.connections, _tell)
    return Results(settings, rows, starts, memory, listing, watching, following)


def _treat_sigterm_as_ctrl_c() -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _tell(doing: str) -> None:
    _stderr.print(f"scripts/bench: {doing}", style="dim")


if __name__ == "__main__":
    typer.run(main)
