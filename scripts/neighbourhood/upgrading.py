"""A rolling upgrade: replicas of an older tree are replaced one by one, while all of them deliver.

Nothing is lost, only what was in flight at a kill comes twice, and the older replicas go on until
they are replaced.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.neighbourhood.findings import Findings
from scripts.neighbourhood.invariants import check_log
from scripts.neighbourhood.replicas import COMMAND, Replica, Storm, add_all, running

_PARTS: Final = 12
"""The number of parts of a run. One follows each change."""
_TAKEOVER: Final = 12.0
"""Seconds after a kill in which another replica takes over."""


def program_of(tree: Path) -> str:
    """Return the program of another tree. Raises `FileNotFoundError` if the tree has none."""
    program = tree.resolve() / ".venv" / "bin" / "lro-gateway"
    if not program.exists():
        raise FileNotFoundError(f"{program} does not exist; run scripts/setup in {tree}")
    return str(program)


async def upgrade(
    older: str, operations: int, seconds: float, chance: random.Random, findings: Findings
) -> None:
    """Replace two replicas of an older program by two of this one.

    So many operations begin and end within so many seconds.
    """
    programs = [older, older, COMMAND, COMMAND]
    with tempfile.TemporaryDirectory(prefix="lro-gateway-upgrade-") as directory:
        async with running(Path(directory), programs, findings, chance) as (storm, replicas):
            await storm.start(replicas[0])
            await storm.start(replicas[1])
            await storm.hook_all()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(add_all(storm, operations, seconds, chance))
                tasks.create_task(_roll(storm, replicas, seconds / _PARTS, findings))
            await storm.check(is_calm=True)
        for each in replicas:
            check_log(each.log.read_text(errors="replace"), findings)


async def _roll(
    storm: Storm, replicas: Sequence[Replica], pause: float, findings: Findings
) -> None:
    """Replace the replicas. One of this tree and one of the older tree are killed meanwhile."""
    first, second, third, fourth = replicas
    before = await storm.schema()
    await asyncio.sleep(pause)
    await storm.start(third)
    findings.counts[f"schema {before}, upgraded to {await storm.schema()}"] = 1
    await _together(storm, [first, second, third], pause)
    await storm.kill(third)
    await storm.start(third)
    await _together(storm, [first, second, third], pause)
    await storm.terminate(first)
    await storm.start(fourth)
    await _together(storm, [second, third, fourth], pause)
    await storm.kill(second)
    await asyncio.sleep(_TAKEOVER)
    findings.counts[f"an older replica that starts again {await _started_again(storm, second)}"] = 1


async def _together(storm: Storm, replicas: Sequence[Replica], pause: float) -> None:
    """Let replicas of both trees run, and check that each of them still answers."""
    await asyncio.sleep(pause)
    for each in replicas:
        await storm.answers(each)


async def _started_again(storm: Storm, replica: Replica) -> str:
    """Return what a replica does that starts although the schema may be newer."""
    try:
        await storm.start(replica)
    except OSError:
        last = replica.log.read_text().strip().splitlines()[-1]
        return f"ends with status {replica.status}: {last}"
    return "goes on"
