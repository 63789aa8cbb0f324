"""A wait that ends when the client closes its connection."""

from __future__ import annotations

from starlette.types import Receive


async def disconnected(receive: Receive) -> None:
    """Return when the client disconnects; parts of the request's body that arrive are dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
