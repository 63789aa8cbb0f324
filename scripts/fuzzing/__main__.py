"""The command `scripts/fuzz`: it fuzzes each target in a process, and prints what each found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from scripts.fuzzing.targets import CORPUS, TARGETS

_EXECUTED: Final = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_FEATURES: Final = re.compile(r" cov: (\d+) ft: (\d+)")
_NOISE: Final = ("INFO: Instrumenting", "WARNING: Failed to find function")
_SLOWEST: Final = 60
"""Seconds that one input may take, also on a busy machine. A slower input counts as a finding."""
_START: Final = 400
"""Seconds that a process may take beside its time of fuzzing."""
_LONGEST: Final = 4096
_MEMORY: Final = 2048

_stdout = Console(highlight=False, soft_wrap=True, markup=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the process of a target has printed. `inputs` is the number of inputs that it tried."""

    target: str
    inputs: int
    features: int
    output: str
    failed: bool


def fuzz(target: str, seconds: int, found: Path) -> Outcome:
    """Fuzz a target for so many seconds. An input that it does not handle is written to `found`."""
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as grown:
        options = (
            *(f"-timeout={_SLOWEST}", f"-max_len={_LONGEST}"),
            *(f"-rss_limit_mb={_MEMORY}", f"-artifact_prefix={found}/", "-print_final_stats=1"),
        )
        command = (
            sys.executable,
            "-m",
            "scripts.fuzzing.session",
            target,
            str(found),
            str(seconds),
            *options,
        )
        ended = subprocess.run(  # noqa: S603 - the command of this module
            [*command, grown, str(CORPUS / target)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + _START,
            check=False,
        )
    lines = (ended.stdout + ended.stderr).splitlines()
    inputs = _EXECUTED.search(ended.stderr)
    features = _FEATURES.findall(ended.stderr)
    return Outcome(
        target,
        int(inputs[1]) if inputs else 0,
        int(features[-1][1]) if features else 0,
        "\n".join(line for line in lines if not line.startswith(_NOISE)),
        failed=ended.returncode != 0,
    )


def main(
    seconds: Annotated[int, typer.Argument(min=1, help="The time for all targets together.")] = 60,
    target: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(TARGETS)}; all if omitted.")
    ] = None,
    found: Annotated[
        Path | None,
        typer.Option(help="The folder for findings, in place of the target's corpus."),
    ] = None,
) -> None:
    """Fuzz the parts of the gateway that read what others send; exit with 1 if it finds a fault."""
    if target is not None and target not in TARGETS:
        raise typer.BadParameter(f"there is no target {target}; there are: {', '.join(TARGETS)}")
    targets = [target] if target else list(TARGETS)
    processes = min(os.cpu_count() or 1, len(targets))
    share = max(1, seconds * processes // len(targets))
    with ThreadPoolExecutor(processes) as pool:
        outcomes = list(pool.map(lambda each: fuzz(each, share, found or CORPUS / each), targets))
    table = Table("target", "seconds", "inputs", "features", "found")
    for each in outcomes:
        outcome = "a fault" if each.failed else "nothing"
        table.add_row(each.target, str(share), str(each.inputs), str(each.features), outcome)
    for each in outcomes:
        if each.failed:
            _stdout.print(f"{each.target}:\n{each.output}")
    _stdout.print(table)
    if any(each.failed for each in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
