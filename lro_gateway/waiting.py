"""Waiting for an operation: by the backend's WaitOperation, else by looking with backoff."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Final

from lro_gateway.backends.backend import Backend
from lro_gateway.errors import Code, StatusError
from lro_gateway.operation import Operation

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_GROWTH: Final = 1.5
_OUT_OF_REACH: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})
_GRACE: Final = 2.0
"""Seconds after its end that a wait gets to bring home what it asked for last."""
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
    with contextlib.suppress(TimeoutError):
        # The backend's own deadline may be far longer than what is left.
        async with asyncio.timeout_at(end + _GRACE):
            while not operation.done and (remaining := end - loop.time()) > 0:
                operation = await _look(backend, name, operation, remaining, pause)
                pause = min(pause * _GROWTH, _LONGEST_PAUSE)
    return operation


async def _look(
    backend: Backend, name: str, latest: Operation, remaining: float, pause: float
) -> Operation:
    """Return the state after one WaitOperation, or after a pause; `latest` if out of reach."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    natively = backend.waits_natively
    try:
        if natively:
            latest = await backend.wait(name, timedelta(seconds=remaining))
        else:
            await asyncio.sleep(min(pause, remaining))
            latest = await backend.get(name)
    except StatusError as error:
        if natively and error.code is Code.UNIMPLEMENTED:
            backend.waits_natively = False
            return latest
        if error.code not in _OUT_OF_REACH:
            raise
        if loop.time() >= started + remaining:
            return await _last_look(backend, name, latest)
    if natively and not latest.done and loop.time() - started < _AT_ONCE:
        await asyncio.sleep(max(0.0, min(pause, started + remaining - loop.time())))
    return latest


async def _last_look(backend: Backend, name: str, latest: Operation) -> Operation:
    """Look once more after a WaitOperation that hung; what was known will do if that fails too."""
    try:
        return await backend.get(name)
    except StatusError:
        return latest
