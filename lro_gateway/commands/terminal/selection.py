"""Which operations a list shows."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.commands.terminal.gateway_client import GatewayClient, Listing
from lro_gateway.commands.terminal.methods import spelt_like
from lro_gateway.commands.terminal.rows import STYLES, Row
from lro_gateway.commands.terminal.times import duration_of, time_ago
from lro_gateway.descriptors.choices import choices
from lro_gateway.errors import escaped

STATES: Final = tuple(STYLES)
_UNKNOWN: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_SEPARATORS: Final = re.compile(r"[./]")
_WILDCARDS: Final = re.compile(r"[*?\[\]]+")
_SEARCHED: Final = 5000
"""The number of operations among which `--method`, `--since` and several states select."""
_COMPARED: Final = 200
"""The least number of operations among which the newest are found."""


class _Method:
    """A pattern of methods, in any spelling that `lro-gateway call` takes."""

    def __init__(self, pattern: str) -> None:
        self.given = pattern
        self._plain = _plain(pattern)

    def has(self, kind: str) -> bool:
        """Return whether the method of an operation matches. Without a pattern every one does."""
        return not self.given or fnmatchcase(_plain(kind), self._plain)

    async def check(self, client: GatewayClient) -> None:
        """Raise an error if the pattern, which has matched no operation, matches no method."""
        if not self.given:
            return
        try:
            tools = [each["name"] for each in await client.methods()]
        except CommandError:
            # The list is right without this check, and the caller may not see the methods.
            return
        names = [_plain(each) for each in tools]
        if tools and not any(fnmatchcase(each, f"*{self._plain}") for each in names):
            known = choices([spelt_like(each, self.given) for each in tools], self.given)
            raise CommandError(f"no method matches {self.given!r}; there are: {escaped(known)}")


def _plain(name: str) -> str:
    """Return the last part of the name of a method, without what its spellings differ in."""
    return _SEPARATORS.split(name)[-1].replace("_", "").lower()


class States:
    """The states that a person has named, with commas or several times. No name means any state."""

    def __init__(self, named: Sequence[str]) -> None:
        parts = [part.strip().lower() for each in named for part in each.split(",")]
        self._states = frozenset(filter(None, parts))
        for state in sorted(self._states.difference(STATES)):
            raise CommandError(f"there is no state {state!r}; use one of {', '.join(STATES)}")

    @property
    def query(self) -> str:
        """The state that the gateway selects. It selects one, or none."""
        return next(iter(self._states)) if len(self._states) == 1 else ""

    @property
    def select(self) -> bool:
        """Whether there are several, so that the command selects among them."""
        return len(self._states) > 1

    def has(self, state: str) -> bool:
        """Return whether a state is one of them."""
        return not self._states or state in self._states


class Selection:
    """Selects the operations of a list, by the backends and then by the command itself."""

    def __init__(self, states: States, method: str, since: str, filter_: str, limit: int) -> None:
        self._states = states
        self._query = {"state": states.query, "filter": filter_}
        self._method = _Method(method)
        self._limit = limit
        self._since = duration_of(since) if since else None

    async def read(self, client: GatewayClient) -> Listing:
        """Return the selected operations, the newest first, at most as many as the limit."""
        selects = bool(self._method.given or self._since is not None or self._states.select)
        # Each of several backends answers with its own newest operations.
        most = _SEARCHED if selects else min(max(2 * self._limit, _COMPARED), _SEARCHED)
        listing = await client.list(limit=most, **self._query)
        now = dt.datetime.now(dt.UTC)
        found = [each for each in listing.operations if self._has(Row.of(each), now)]
        if not found and not any(self._method.has(Row.of(e).kind) for e in listing.operations):
            await self._method.check(client)
        found.sort(key=lambda each: Row.of(each).created or _UNKNOWN, reverse=True)
        is_cut = listing.is_cut or len(found) > self._limit
        return Listing(found[: self._limit], listing.unreachable, is_cut)

    def _has(self, row: Row, now: dt.datetime) -> bool:
        if self._since is not None and (row.created is None or now - row.created > self._since):
            return False
        if not self._states.has(row.state):
            return False
        return self._method.has(row.kind)


class MySelection:
    """Which of the operations to list that the caller has started. The gateway selects them."""

    def __init__(self, states: States, method: str, since: str, filter_: str, limit: int) -> None:
        if filter_:
            raise CommandError("--filter is for backends, and cannot be used with --mine")
        self._states = states
        self._method = _Method(method)
        # The gateway selects by a part of the name, and the rest of the pattern is matched here.
        method = max(_WILDCARDS.split(method), key=len)
        begin = time_ago(since).isoformat() if since else ""
        state = states.query
        self._query = {"state": state, "method": method, "since": begin}
        self._limit = limit

    async def read(self, client: GatewayClient) -> Listing:
        """Return the operations, the newest first, at most as many as the limit."""
        listing = await client.list_mine(limit=self._limit, **self._query)
        if not self._method.given and not self._states.select:
            return listing
        found = [each for each in listing.operations if self._has(Row.of(each))]
        if not any(self._method.has(Row.of(each).kind) for each in listing.operations):
            await self._method.check(client)
        return Listing(found, (), listing.is_cut)

    def _has(self, row: Row) -> bool:
        return self._states.has(row.state) and self._method.has(row.kind)
