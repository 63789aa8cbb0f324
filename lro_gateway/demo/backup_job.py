"""BackupDatabase: SQLite's online backup, in batches of pages."""

import asyncio
import queue
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from lro_gateway.demo.databases import (
    Databases,
    damage_is_data_loss,
    open_to_read,
    open_to_write,
    publish,
)
from lro_gateway.demo.names import database_name
from lro_gateway.demo.operations import Progress, batch_size
from lro_gateway.demo.threads import Threads, wait_until_done
from lro_gateway.demo.v1 import database_admin_pb2 as pb

_LARGEST_BATCH = 1_000


class _StoppedError(Exception):
    """Raised in SQLite's progress callback to stop a copy."""


@dataclass(frozen=True, slots=True)
class BackupJob:
    """Copies one database to one backup."""

    databases: Databases
    database_id: str
    backup_id: str

    async def __call__(self, progress: Progress[pb.BackupDatabaseMetadata]) -> pb.Backup:
        """Copy the database to a file, and publish the file once it is complete."""
        metadata = progress.metadata

        async def step(copied: int, total: int) -> None:
            metadata.pages_copied = copied
            metadata.total_pages = total
            metadata.progress_percent = 100 * copied // max(1, total)
            await progress.step()

        final = self.databases.backup_path(self.database_id, self.backup_id)
        with self.databases.unfinished(final) as path:
            with (
                damage_is_data_loss(database_name(self.database_id)),
                closing(open_to_read(self.databases.path(self.database_id))) as source,
                closing(open_to_write(path)) as target,
            ):
                pages = await Threads(source.interrupt).run(_page_count, source)
                await _copy(source, target, batch_size(pages, _LARGEST_BATCH), step)
            publish(path, final)
        return self.databases.describe_backup(self.database_id, self.backup_id)


async def _copy(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    pages: int,
    step: Callable[[int, int], Awaitable[None]],
) -> None:
    """Copy all pages, and await `step` after each batch.

    The copy is one blocking call in a thread. After each batch the thread reports its progress,
    then waits for permission to copy the next batch.
    """
    loop = asyncio.get_running_loop()
    reports: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
    permissions: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def report(_status: int, remaining: int, total: int) -> None:
        loop.call_soon_threadsafe(reports.put_nowait, (total - remaining, total))
        if not permissions.get():
            raise _StoppedError

    # The copy has its own thread. If it waited for long in a thread of a shared pool, other jobs
    # would have to wait for that thread.
    with ThreadPoolExecutor(max_workers=1) as thread:
        copy = partial(source.backup, target, pages=pages, progress=report)
        copying = loop.run_in_executor(thread, copy)
        copying.add_done_callback(lambda _: reports.put_nowait(None))
        try:
            while (copied := await reports.get()) is not None:
                await step(*copied)
                permissions.put(True)
        finally:
            permissions.put(False)
            await wait_until_done(copying)
            failure = copying.exception()
    if failure is not None:
        raise failure


def _page_count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    return int(count)
