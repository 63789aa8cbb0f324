"""Which operations a list shows."""

from __future__ import annotations

import datetime as dt
import re
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.commands.terminal.gateway_client import GatewayClient, Listing
from lro_gateway.commands.terminal.rows import STYLES, Row
from lro_gateway.commands.terminal.times import duration_of

STATES: Final = tuple(STYLES)
_UNKNOWN: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_WILDCARDS: Final = re.compile(r"[*?\[\]]+")
_SEARCHED: Final = 5000
"""The number of operations among which `--method` and `--since` select."""


class Selection:
    """Which operations to list. What a backend cannot select is selected here."""

    def __init__(
        self, state: str, method: str, since: str, filter_: str, backend: str, limit: int
    ) -> None:
        state = state.lower()
        if state and state not in STATES:
            raise CommandError(f"there is no state {state!r}; use one of {', '.join(STATES)}")
        self._query = {"state": state, "filter": filter_, "backend": backend}
        self._method = method.lower()
        self._limit = limit
        self._since = duration_of(since) if since else None

    async def read(self, client: GatewayClient) -> Listing:
        """Return the selected operations, the newest first, at most as many as the limit."""
        selects = bool(self._method or self._since is not None)
        listing = await client.list(limit=_SEARCHED if selects else self._limit, **self._query)
        now = dt.datetime.now(dt.UTC)
        found = [each for each in listing.operations if self._has(Row.of(each), now)]
        found.sort(key=lambda each: Row.of(each).created or _UNKNOWN, reverse=True)
        is_cut = listing.is_cut or len(found) > self._limit
        return Listing(found[: self._limit], listing.unreachable, is_cut)

    def _has(self, row: Row, now: dt.datetime) -> bool:
        if self._since is not None and (row.created is None or now - row.created > self._since):
            return False
        return not self._method or fnmatchcase(row.kind.lower(), self._method)


class MySelection:
    """Which of the operations to list that the caller has started. The gateway selects them."""

    def __init__(
        self, state: str, method: str, since: str, filter_: str, backend: str, limit: int
    ) -> None:
        if filter_:
            raise CommandError("--filter is for backends, and cannot be used with --mine")
        self._pattern = method.lower()
        # The gateway selects by a part of the name, and the rest of the pattern is matched here.
        method = max(_WILDCARDS.split(method), key=len)
        begin = "" if not since else (dt.datetime.now(dt.UTC) - duration_of(since)).isoformat()
        self._query = {"state": state, "method": method, "since": begin, "backend": backend}
        self._limit = limit

    async def read(self, client: GatewayClient) -> Listing:
        """Return the operations, the newest first, at most as many as the limit."""
        listing = await client.list_mine(limit=self._limit, **self._query)
        if not self._pattern:
            return listing
        found = [each for each in listing.operations if self._has(Row.of(each))]
        return Listing(found, (), listing.is_cut)

    def _has(self, row: Row) -> bool:
        return fnmatchcase(row.kind.lower(), self._pattern)
