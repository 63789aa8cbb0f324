"""Waiting for an operation: by the backend's WaitOperation, else by looking with backoff."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import Code, StatusError
from lro_gateway.operation import Operation

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_GROWTH: Final = 1.5
_LAST_LOOK: Final = 2.0
_AT_ONCE: Final = 0.5
"""Seconds under which a WaitOperation that comes back unfinished did not wait."""


async def wait(backend: Backend, name: str, timeout: timedelta) -> Operation:  # noqa: ASYNC109 - ends with a state, not an error
    """Return an operation when it is done, or its latest state when `timeout` has passed.

    Only what the first look meets, or an answer such as NOT_FOUND later on, is an error: a backend
    that is out of reach for a while is waited for as well. Cancelling stops it at once.
    """
    operation = await backend.get(name)
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout.total_seconds()
    pause = _FIRST_PAUSE
    while not operation.done and (remaining := end - loop.time()) > 0:
        started = loop.time()
        natively = backend.waits_natively
        try:
            if natively:
                operation = await backend.wait(name, timedelta(seconds=remaining))
            else:
                await asyncio.sleep(min(pause, remaining))
                operation = await backend.get(name)
        except StatusError as error:
            if natively and error.code is Code.UNIMPLEMENTED:
                backend.waits_natively = False
                continue
            if error.code not in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}:
                raise
            if end - loop.time() <= 0:
                return await _last_look(backend, name, operation)
        if natively and not operation.done and loop.time() - started < _AT_ONCE:
            await asyncio.sleep(max(0.0, min(pause, end - loop.time())))
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)
    return operation


async def _last_look(backend: Backend, name: str, latest: Operation) -> Operation:
    """Look once more after a WaitOperation that hung; what was known will do if that fails too."""
    try:
        async with asyncio.timeout(_LAST_LOOK):
            return await backend.get(name)
    except (StatusError, TimeoutError):
        return latest
