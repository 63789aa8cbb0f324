"""Writes of many callers in one transaction, because a commit costs more than the rows in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Executable

from lro_gateway.errors import StatusError
from lro_gateway.records.database import Database

_MAX_BATCH: Final = 500


class _Write(NamedTuple):
    statement: Executable
    row: Mapping[str, Any]
    written: asyncio.Future[None]


class Batches:
    """Collects rows while the last transaction runs, and writes them in the next one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Write] = []
        self._wakes = asyncio.Event()
        self._closes = False

    async def write(self, statement: Executable, row: Mapping[str, Any]) -> None:
        """Execute a statement with the values of a row. It is committed when this returns.

        The statement must be idempotent. Raises UNAVAILABLE if the database does not answer.
        """
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(statement, row, written))
        self._wakes.set()
        await written

    async def run(self) -> None:
        """Write batch after batch, until `close` is called and nothing waits."""
        while self._waiting or not self._closes:
            await self._wakes.wait()
            batch = self._waiting[:_MAX_BATCH]
            del self._waiting[:_MAX_BATCH]
            if batch:
                await self._write(batch)
            if not self._waiting and not self._closes:
                self._wakes.clear()

    def close(self) -> None:
        """Let `run` end once nothing waits."""
        self._closes = True
        self._wakes.set()

    async def _write(self, batch: Sequence[_Write]) -> None:
        try:
            await self._database.write(lambda connection: _execute(connection, batch))
        except Exception as error:  # noqa: BLE001 - each caller gets it
            if len(batch) > 1 and not isinstance(error, StatusError):
                # One row that the database refuses must not fail the others.
                for each in batch:
                    await self._write([each])
                return
            for each in batch:
                if not each.written.done():
                    each.written.set_exception(error)
            return
        for each in batch:
            if not each.written.done():
                each.written.set_result(None)


def _execute(connection: Connection, batch: Sequence[_Write]) -> None:
    by_statement: dict[int, tuple[Executable, list[Mapping[str, Any]]]] = {}
    for each in batch:
        _, rows = by_statement.setdefault(id(each.statement), (each.statement, []))
        rows.append(each.row)
    for statement, rows in by_statement.values():
        connection.execute(statement, rows)
