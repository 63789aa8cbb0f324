"""ExportQuery: writes the rows of a query as CSV or as JSON lines."""

import base64
import csv
import hashlib
import io
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lro_gateway.demo.databases import (
    Databases,
    damage_is_data_loss,
    is_damage,
    open_to_read,
    publish,
)
from lro_gateway.demo.names import database_name
from lro_gateway.demo.operations import Progress, batch_size
from lro_gateway.demo.refusals import RefusedError, invalid
from lro_gateway.demo.threads import Threads
from lro_gateway.demo.v1 import database_admin_pb2 as pb

_LARGEST_BATCH = 5_000
_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}

Value = str | int | float | bytes | None
Encode = Callable[[Sequence[str], Sequence[Sequence[Value]]], str]


def require_readable(path: Path, query: str) -> None:
    """Raise INVALID_ARGUMENT unless `query` is one statement that only reads."""
    try:
        with closing(_open(path)) as connection:
            connection.execute(f"EXPLAIN {query}")
            connection.execute(f"EXPLAIN {_counting(query)}")
    except (sqlite3.Error, sqlite3.Warning) as error:
        # A request for a damaged file is accepted, because the operation reports the damage.
        if not is_damage(error):
            raise _unreadable(error) from error


@dataclass(frozen=True, slots=True)
class ExportJob:
    """Writes the rows of one query to one file."""

    databases: Databases
    database_id: str
    query: str
    format: pb.ExportQueryRequest.Format

    async def __call__(self, progress: Progress[pb.ExportQueryMetadata]) -> pb.ExportQueryResponse:
        """Write the rows to a file, and publish the file once it is complete."""
        suffix = "jsonl" if self.format == pb.ExportQueryRequest.JSON_LINES else "csv"
        final = self.databases.export_path(self.database_id, f"{progress.operation_id}.{suffix}")
        with self.databases.unfinished(final) as path:
            with (
                _query_errors_refused(),
                damage_is_data_loss(database_name(self.database_id)),
                closing(_open(self.databases.path(self.database_id))) as connection,
                path.open("wb") as file,
            ):
                response = await self._write(connection, file, progress)
            publish(path, final)
        response.file = final.relative_to(self.databases.directory).as_posix()
        return response

    async def _write(
        self,
        connection: sqlite3.Connection,
        file: BinaryIO,
        progress: Progress[pb.ExportQueryMetadata],
    ) -> pb.ExportQueryResponse:
        threads = Threads(connection.interrupt)
        metadata = progress.metadata
        metadata.phase = metadata.COUNTING
        metadata.total_rows = await threads.run(_count, connection, self.query)
        await progress.step()

        metadata.phase = metadata.WRITING
        encode = _json_lines if self.format == pb.ExportQueryRequest.JSON_LINES else _csv_lines
        rows = _Rows(await threads.run(connection.execute, self.query), file, encode)
        await threads.run(rows.write_columns)
        size = batch_size(metadata.total_rows, _LARGEST_BATCH)
        while written := await threads.run(rows.write, size):
            metadata.rows_written += written
            # A query may return more rows now than when they were counted.
            done = metadata.rows_written / max(1, metadata.total_rows)
            metadata.progress_percent = min(100, int(100 * done))
            await progress.step()
        return pb.ExportQueryResponse(
            row_count=metadata.rows_written, size_bytes=rows.size, sha256=rows.digest.hexdigest()
        )


class _Rows:
    """Writes the rows of a cursor to a file, and keeps the size and the digest of the file."""

    def __init__(self, cursor: sqlite3.Cursor, file: BinaryIO, encode: Encode) -> None:
        self._cursor = cursor
        self._file = file
        self._encode = encode
        self._columns = [column[0] for column in cursor.description]
        self.size = 0
        self.digest = hashlib.sha256()

    def write_columns(self) -> None:
        """Write the line of column names, if the format has one."""
        if self._encode is _csv_lines:
            self._put(_csv_lines([], [self._columns]))

    def write(self, count: int) -> int:
        """Write at most `count` further rows; return the number of rows written."""
        rows = self._cursor.fetchmany(count)
        self._put(self._encode(self._columns, rows))
        return len(rows)

    def _put(self, text: str) -> None:
        content = text.encode()
        self._file.write(content)
        self.size += len(content)
        self.digest.update(content)


def _open(path: Path) -> sqlite3.Connection:
    connection = open_to_read(path)
    # A column may hold text that is not valid UTF-8, which the exported file cannot hold.
    connection.text_factory = lambda text: text.decode(errors="replace")
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY
    )
    return connection


def _counting(query: str) -> str:
    # The query may end with a comment. The line break ends the comment.
    return f"SELECT count(*) FROM (\n{query.strip().rstrip(';')}\n)"  # noqa: S608 (the caller may run any query that reads, and the connection can only read)


def _count(connection: sqlite3.Connection, query: str) -> int:
    (count,) = connection.execute(_counting(query)).fetchone()
    return int(count)


@contextmanager
def _query_errors_refused() -> Iterator[None]:
    """Turn an error of SQLite during a valid query, such as an overflow, into INVALID_ARGUMENT."""
    try:
        yield
    except sqlite3.Error as error:
        raise invalid("query", f"it failed: {error}", "QUERY_FAILED") from error


def _unreadable(error: sqlite3.Error | sqlite3.Warning) -> RefusedError:
    return invalid(
        "query", f"it is not one SQL statement that only reads: {error}", "INVALID_QUERY"
    )


def _csv_lines(_columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_plain(value) for value in row] for row in rows)
    return text.getvalue()


def _json_lines(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    objects = (dict(zip(columns, map(_plain, row), strict=True)) for row in rows)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in objects)


def _plain(value: Value) -> str | int | float | None:
    """Return a value that JSON can hold. Bytes and infinities become text, as in ProtoJSON."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
