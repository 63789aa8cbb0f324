"""When operations changed that do not tell it themselves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

from lro_gateway.commands.terminal.rows import Row


class Changes:
    """Compares each list with the one before, and notes when an operation looked different."""

    def __init__(self) -> None:
        self._latest: dict[str, Row] = {}
        self._times: dict[str, dt.datetime] = {}

    def noted(self, rows: Sequence[Row], now: dt.datetime) -> list[Row]:
        """Return the rows, with the time of a change that was seen where they have no time.

        The first list shows no change, so nothing is known of an operation until it changes.
        """
        for row in rows:
            if self._latest.get(row.name, row) != row:
                self._times[row.name] = now
        self._latest = {row.name: row for row in rows}
        return [
            row if row.updated else replace(row, updated=self._times.get(row.name)) for row in rows
        ]
