"""Short names of operations: the end of a name, if it is the end of one name only."""

from __future__ import annotations

from typing import Final

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.commands.terminal.gateway_client import GatewayClient
from lro_gateway.errors import escaped

_MARK: Final = "/operations/"
_LOOKED_AT: Final = 5000
"""The number of operations among which a short name is looked up."""
_SHOWN: Final = 5


async def full_name(client: GatewayClient, given: str) -> str:
    """Return the name of the one operation whose last segment begins with the given text.

    A text with `operations/` in it is a whole name, and is returned as it is. Raises `CommandError`
    if no operation or several have such a name.
    """
    if _MARK in given or given.startswith(("operations/", "//")):
        return given
    listing = await client.list(limit=_LOOKED_AT, fields="operations(name),nextPageToken")
    names = [str(each["name"]) for each in listing.operations]
    found = [name for name in names if name.rpartition("/")[2] == given] or [
        name for name in names if name.rpartition("/")[2].startswith(given)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        among = f"among the first {_LOOKED_AT}" if listing.is_cut else "here"
        raise CommandError(
            f"no operation {among} has the name {given!r}. `lro-gateway operations list` shows the"
            " names"
        )
    shown = ", ".join(escaped(name) for name in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise CommandError(f"{given!r} is the name of several operations: {shown}{more}")
