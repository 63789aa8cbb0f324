"""`python -m scripts.neighbourhood.mortal`: forks a gateway for each line of stdin, and reaps it.

A line is a JSON object: the `config` of the gateway, and the `point` of a start at which it kills
itself, or null. The gateway prints its process id and its URL. The imports happen once, so that a
gateway starts in a fraction of a second.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import sqlalchemy as sa

from lro_gateway.backends.backend import Backend
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.records.journal import SqlJournal
from lro_gateway.serving.http import serve_http

BEFORE: Final = {
    "before the row": (SqlJournal, "claim"),
    "before the RPC": (Backend, "start"),
    "before the name": (SqlJournal, "settle"),
}
AFTER: Final = {
    "after the row": (SqlJournal, "claim"),
    "after the RPC": (Backend, "start"),
    "after the name": (SqlJournal, "settle"),
}
COMMITS: Final = {"before the commit of the row": 1, "before the commit of the name": 2}
POINTS: Final = (*BEFORE, *AFTER, *COMMITS)
"""The points of a start at which a gateway can kill itself."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _killing(kind: type, name: str, *, before: bool) -> None:
    """Let a method kill the process before or after it has run."""
    method = getattr(kind, name)

    async def killing(*arguments: Any, **named: Any) -> Any:
        if before:
            _die()
        try:
            return await method(*arguments, **named)
        finally:
            _die()

    setattr(kind, name, killing)


def _kill_at(point: str) -> None:
    if point in BEFORE:
        _killing(*BEFORE[point], before=True)
    elif point in AFTER:
        _killing(*AFTER[point], before=False)
    else:
        # The gateway is idle, so the first commits from now on are those of the start.
        _listen(COMMITS[point])


def _listen(number: int) -> None:
    count = iter(range(1, number))

    def commits(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("begin") == "BEGIN IMMEDIATE"
        if writes and next(count, None) is None:
            _die()

    sa.event.listen(sa.Engine, "commit", commits)


async def _serve(config: dict[str, Any], arm: Callable[[], None]) -> None:
    async with Gateway.open(GatewayConfig.model_validate(config)) as gateway:
        await gateway.service.catalog.offers(wait_for_all=True)
        async with serve_http(gateway) as server:
            arm()
            print(json.dumps({"pid": os.getpid(), "url": server.url}), flush=True)
            await asyncio.Event().wait()


def _prepare() -> None:
    """Import what a gateway would import late, so that no fork does so."""
    import_module("pydantic.v1")
    for driver in ("sqlite://", "postgresql+psycopg://"):
        sa.create_engine(driver).dispose()
    gc.collect()
    gc.freeze()


def _run(order: dict[str, Any]) -> None:
    point = order["point"]
    asyncio.run(_serve(order["config"], lambda: _kill_at(point) if point else None))


def main() -> None:
    """Fork a gateway for each line, and wait for its end."""
    logging.disable(logging.CRITICAL)
    _prepare()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(order)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
