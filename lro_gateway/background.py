"""Owned tasks: nothing runs that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


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
