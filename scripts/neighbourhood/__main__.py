"""`python -m scripts.neighbourhood`: runs the gateway among failing neighbours, and reports."""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from scripts.neighbourhood.faults import Faults
from scripts.neighbourhood.findings import Findings
from scripts.neighbourhood.hooks import kill_in_the_middle
from scripts.neighbourhood.invariants import check_end, check_log, check_truth, check_usage
from scripts.neighbourhood.kills import storm
from scripts.neighbourhood.load import HEALTHY, SHAKY, Load
from scripts.neighbourhood.outages import outages as without_database
from scripts.neighbourhood.processes import Backend, Gateway, Usage, gateway, usage
from scripts.neighbourhood.proxy import Proxy
from scripts.neighbourhood.readers import take_over_polls
from scripts.neighbourhood.replicas import disturb
from scripts.neighbourhood.upgrading import program_of, upgrade

_WARM_UP: Final = 3.0
"""Seconds of load before the memory and the descriptors of the start are measured."""
_REST: Final = 240.0
"""Seconds that a run may take beyond the time of its faults."""
_INTERRUPTED: Final = 130


def main(  # noqa: PLR0913 - each parameter is an option of the command
    seconds: Annotated[
        float, typer.Argument(min=1, max=86400, help="Seconds for which faults happen.")
    ] = 60,
    *,
    seed: Annotated[int | None, typer.Option(help="The number that repeats a run.")] = None,
    workers: Annotated[int, typer.Option(min=2, max=16, help="The workers of the gateway.")] = 2,
    kills: Annotated[
        int, typer.Option(min=0, help="Instead, kill so many gateways while they start operations.")
    ] = 0,
    replicas: Annotated[
        int,
        typer.Option(min=0, max=9, help="Instead, kill and stop so many replicas on PostgreSQL."),
    ] = 0,
    operations: Annotated[
        int, typer.Option(min=1, help="The operations with webhooks that the replicas follow.")
    ] = 300,
    outages: Annotated[
        int,
        typer.Option(min=0, max=9, help="Instead, stop the database of so many replicas."),
    ] = 0,
    readers: Annotated[
        int,
        typer.Option(min=0, help="Instead, kill and stop replicas that poll so many operations."),
    ] = 0,
    upgrade_from: Annotated[
        Path | None,
        typer.Option(help="Instead, replace replicas of an older tree by those of this one."),
    ] = None,
    webhooks: Annotated[
        int,
        typer.Option(min=0, help="Instead, kill a gateway while it sends so many webhooks."),
    ] = 0,
) -> None:
    """Run the gateway on loopback among neighbours that fail; exit with 1 if it does not hold."""
    chosen = random.SystemRandom().randrange(10**6) if seed is None else seed
    if kills:
        print(f"scripts/chaos: {kills} kills, seed {chosen}", flush=True)
        print(asyncio.run(storm(kills, random.Random(chosen))))  # noqa: S311 - a run can be repeated
        return
    print(f"scripts/chaos: {seconds:g} s of faults, seed {chosen}", flush=True)
    findings = Findings()
    try:
        chance = random.Random(chosen)  # noqa: S311 - a run can be repeated
        if webhooks:
            run = kill_in_the_middle(webhooks, findings)
        elif upgrade_from is not None:
            run = upgrade(program_of(upgrade_from), operations, seconds, chance, findings)
        elif outages:
            run = without_database(outages, operations, seconds, chance, findings)
        elif readers:
            run = take_over_polls(readers, findings)
        elif replicas:
            run = disturb(replicas, operations, seconds, chance, findings)
        else:
            run = _run(workers, seconds, chance, findings)
        asyncio.run(_bounded(seconds, run))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(_INTERRUPTED) from None
    except TimeoutError:
        findings.violate("a run ends in time", f"it took more than {seconds + _REST:g} s")
    _report(findings)


def _report(findings: Findings) -> None:
    print("\n".join(findings.lines()))
    if findings.violations:
        raise typer.Exit(1)
    print("scripts/chaos: the gateway held")


async def _bounded(seconds: float, run: Coroutine[Any, Any, None]) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(seconds + _REST):
        await run


async def _run(workers: int, seconds: float, chance: random.Random, findings: Findings) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        name = tempfile.TemporaryDirectory(prefix="lro-gateway-chaos-")
        directory = Path(stack.enter_context(name))
        backends = {name: Backend(name, directory) for name in (SHAKY, HEALTHY)}
        for backend in backends.values():
            stack.push_async_callback(backend.kill)
            await backend.start()
        proxy = await stack.enter_async_context(Proxy(backends[SHAKY].address, chance).open())
        targets = {SHAKY: proxy.address, HEALTHY: backends[HEALTHY].address}
        running = await stack.enter_async_context(gateway(directory, workers, targets))
        load = Load(running.url, findings, chance)
        faults = Faults(proxy, backends[SHAKY], running, workers, load, findings, chance)
        async with load.running():
            await asyncio.sleep(_WARM_UP)
            before = _largest(running)
            await faults.until(loop.time() + seconds)
        began = time.monotonic()
        await check_truth(running.url, load, _addresses(backends), findings)
        await check_usage(running, before, findings)
        findings.time("recoveries", time.monotonic() - began)
        await check_end(running, findings)
        check_log(running.log, findings)


def _largest(running: Gateway) -> Usage:
    """Return the largest memory and number of descriptors of a worker."""
    found = [usage(pid) for pid in running.workers]
    return Usage(max(each.memory for each in found), max(each.descriptors for each in found))


def _addresses(backends: Mapping[str, Backend]) -> dict[str, str]:
    return {name: backend.address for name, backend in backends.items()}


if __name__ == "__main__":
    typer.run(main)
