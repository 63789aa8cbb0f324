"""Outages of the database under load: PostgreSQL is killed or stopped while replicas deliver.

No event is lost. Afterwards each replica goes on with what it followed, and only the work of one
that has died meanwhile is taken over.
"""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Final

from scripts.neighbourhood.findings import Findings
from scripts.neighbourhood.invariants import check_log
from scripts.neighbourhood.replicas import COMMAND, Replica, Storm, add_all, running

_AWAY: Final = (9.0, 16.0)
"""The least and the greatest number of seconds of an outage. A lease is shorter."""
_SETTLED: Final = 15.0
"""Seconds after an outage in which everything is followed again."""
_BEFORE: Final = 5.0


async def outages(
    number: int, operations: int, seconds: float, chance: random.Random, findings: Findings
) -> None:
    """Let the database of so many replicas be away again and again, for so many seconds."""
    hows = cycle([signal.SIGSTOP, signal.SIGQUIT])
    deaths = cycle([False, False, True, True])
    with tempfile.TemporaryDirectory(prefix="lro-gateway-outages-") as directory:
        async with running(Path(directory), [COMMAND] * number, findings, chance) as (storm, all_):
            for each in all_:
                await storm.start(each)
            await storm.hook_all()
            end = time.monotonic() + seconds
            adding = asyncio.create_task(add_all(storm, operations, seconds, chance))
            while time.monotonic() < end:
                await asyncio.sleep(_BEFORE)
                dies = chance.choice(all_) if next(deaths) else None
                await _outage(storm, next(hows), chance.uniform(*_AWAY), dies)
            await adding
            await storm.check()
        for each in all_:
            check_log(each.log.read_text(errors="replace"), findings)


async def _outage(storm: Storm, how: signal.Signals, seconds: float, dies: Replica | None) -> None:
    """Let the database be away, and check who follows what afterwards."""
    gone = dies.id if dies is not None else ""
    findings, before = storm.findings, dict(storm.owners)
    findings.counts[f"outages by {how.name}"] += 1
    await storm.away(how, seconds, dies)
    began = time.monotonic()
    while time.monotonic() < began + _SETTLED:
        await asyncio.sleep(0.5)
        for name, owner in storm.owners.items():
            if before.get(name, gone) not in {gone, owner}:
                findings.violate("an outage moves no work of a living replica", name)
                before[name] = owner
    left = [name for name, owner in storm.owners.items() if owner == gone]
    if left:
        text = f"{len(left)} operations {_SETTLED:g} s after the outage"
        findings.violate("what a replica followed that died in an outage is taken over", text)
    if dies is not None:
        await storm.start(dies)
