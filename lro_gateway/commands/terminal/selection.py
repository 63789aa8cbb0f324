"""Which operations a list shows."""

from __future__ import annotations

import datetime as dt
from fnmatch import fnmatchcase
from typing import Final

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.commands.terminal.gateway_client import GatewayClient, Listing
from lro_gateway.commands.terminal.rows import STYLES, Row
from lro_gateway.commands.terminal.times import duration_of

STATES: Final = tuple(STYLES)
_UNKNOWN: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_SEARCHED: Final = 5000
"""The number of operations among which `--method` and `--since` select."""


class Selection:
    """Which operations to list. What a backend cannot select is selected here."""

    def __init__(
        self, state: str, method: str, since: str, filter_: str, backend: str, limit: int
    ) -> None:
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
