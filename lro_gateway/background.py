"""Owned tasks: nothing runs that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a TaskGroup whose body's own error comes out as itself, not in an ExceptionGroup.

    The body ends what it started, as it would have to anyway; a task that fails ends the body.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        try:
            yield group
        except Exception as error:  # noqa: BLE001 - raised again below, once the group is closed
            failure = error
    if failure is not None:
        raise failure


async def race(work: Coroutine[Any, Any, _T], *rivals: Coroutine[Any, Any, object]) -> _T | None:
    """Return what `work` returns, or None if a rival ends first.

    The losers are cancelled and awaited. If `work` and a rival have both ended, `work` wins. An
    error of `work` is raised; an error of a rival counts as its end.
    """
    working = asyncio.ensure_future(work)
    tasks = [working, *(asyncio.ensure_future(rival) for rival in rivals)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
