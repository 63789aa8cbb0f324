"""Short names: the beginning or the end of an id, if only one id begins or ends so.

Some services put the time first into an id, so that the ids of one day begin alike and only their
ends differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lro_gateway.commands.terminal.failures import CommandError, RefusedError
from lro_gateway.commands.terminal.gateway_client import APPROVALS, GatewayClient
from lro_gateway.errors import escaped

_MARK: Final = "/operations/"
_ESCAPE: Final = "\\"
_LOOKED_AT: Final = 5000
"""The number of operations among which a short name is looked up."""
_SHOWN: Final = 5
_SHORT: Final = 8


async def full_name(client: GatewayClient, given: str) -> str:
    """Return the name of the one operation whose last segment begins or ends with the given text.

    A text with `operations/` in it is a whole name, and is returned as it is. So is the name of an
    operation without that part, which some services give. A name may be given as the commands show
    it, with escapes. Raises `CommandError` if no operation or several have such a name.
    """
    if not given.strip():
        raise CommandError("the name is empty; `lro-gateway operations list` shows the names")
    is_whole = _MARK in given or given.startswith(("operations/", APPROVALS, "//"))
    if is_whole and _ESCAPE not in given:
        return given
    try:
        listing = await client.list(limit=_LOOKED_AT, fields="operations(name),nextPageToken")
    except RefusedError:
        if "/" in given:
            # The last part of a name has no slash. Some services have no lists.
            return given
        raise
    names = [str(each["name"]) for each in listing.operations]
    found = _matching(names, given)
    if len(found) == 1:
        return found[0]
    if not found:
        inside = [name for name in names if f"/{given}/" in f"/{name}/"]
        if "/" in given and not inside:
            return given
        raise CommandError(_unknown(given, names, inside, is_cut=listing.is_cut))
    raise CommandError(
        f"the last parts of several names begin or end with {given!r}: {_listed(found)}."
        " Give more of the last part, or the whole name"
    )


def _matching(names: Sequence[str], given: str) -> list[str]:
    """Return the name that a text is, or else those whose last part it is, begins or ends."""
    last = {name: (name.rpartition("/")[2], escaped(name).rpartition("/")[2]) for name in names}
    return (
        [name for name in last if given in {name, escaped(name)}]
        or [name for name, parts in last.items() if given in parts]
        or [name for name, parts in last.items() if any(_has(each, given) for each in parts)]
    )


def _has(id_: str, given: str) -> bool:
    return id_.startswith(given) or id_.endswith(given)


def one_of(ids: Sequence[str], given: str, noun: str, cure: str) -> str:
    """Return the one id that begins or ends with the given text.

    Raises `CommandError` for none or several, with `cure` at its end.
    """
    found = [each for each in ids if each == given] or [each for each in ids if _has(each, given)]
    if len(found) == 1 and given:
        return found[0]
    what = f"several {noun}s have" if found else f"no {noun} has"
    raise CommandError(f"{what} an id that begins or ends with {given!r}; {cure}")


def _unknown(given: str, names: Sequence[str], inside: Sequence[str], *, is_cut: bool) -> str:
    """Return the error for a name that no operation has: what a name is, and names to try."""
    example = names[0] if names else "databases/orders/operations/9f1c"
    last = example.rpartition("/")[2][:_SHORT]
    among = f"among the first {_LOOKED_AT}" if is_cut else "here"
    message = (
        f"no operation {among} has the name {given!r}. A name is the whole name, such as"
        f" {example}, or the beginning or the end of its last part, such as {last}."
    )
    if inside:
        return f"{message} These have {given!r} in their names: {_listed(inside)}"
    return f"{message} `lro-gateway operations list` shows the names"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
