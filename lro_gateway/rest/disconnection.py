"""How a face learns that a client has closed its connection."""

from __future__ import annotations

from starlette.types import Receive


async def disconnected(receive: Receive) -> None:
    """Return when the client has left; parts of the request's body that come before are dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
