"""Ends a request if its client disconnects."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from lro_gateway.background import race
from lro_gateway.errors import Code, status_error

_T = TypeVar("_T")


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of `work`.

    If the client disconnects first, cancel `work` and raise CANCELLED.
    """
    result = await race(work, disconnected(receive))
    if result is None:
        raise status_error(Code.CANCELLED, "the client disconnected", "CLIENT_DISCONNECTED")
    return result
