"""The database: its connections, and the threads in which its transactions run.

SQLAlchemy's own asyncio support would load its ORM, which takes 6 MB, and would change threads for
each statement. Here a whole transaction is one call in a thread.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.records.activity import Activity
from lro_gateway.records.connecting import connect_to_postgresql
from lro_gateway.records.location import Location

_T = TypeVar("_T")

Work = Callable[[Connection], _T]
"""Work that runs in a transaction. It may run again after an error, so it must be idempotent."""

_PATIENCE: Final = 5.0
"""Seconds for which a transaction is tried again while the database does not answer."""
_PAUSE: Final = 0.1
_BUSY: Final = 5000
"""Milliseconds that a transaction waits while another process has locked the file."""
_LONGEST_LOG: Final = 64_000
"""Pages of SQLite's log, 256 MB. Only a commit that makes it longer waits for a checkpoint.

Measured: a sweep of 50,000 rows makes it longer than 64 MB, and starts then waited up to 80 ms.
"""
_READERS: Final = 4
_MOST_TOGETHER: Final = 100
"""The number of works that are committed together."""
_FEW: Final = 8
"""The number of works in a turn of those that may wait. It takes some 10 ms, and others wait."""
_LONG: Final = 0.25
"""Seconds after which works that may wait take turns with others."""
_MOVED: Final = "its file was moved, deleted or replaced; put it back, or restart the gateway"
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_RESTORE: Final = "restore a backup, or move the file away to begin with an empty store"
_MISTAKES: Final = (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError)
"""The errors of work that would fail again, and of values that the database refuses."""


class _Job:
    """A work that is to be written, since when, and its result once it is committed."""

    __slots__ = ("done", "since", "work")

    def __init__(self, work: Work[Any], since: float) -> None:
        self.work = work
        self.since = since
        self.done: Future[Any] = Future()


class Database:
    """One database. Transactions that write run one after another, and reads run beside them."""

    def __init__(self, location: Location) -> None:
        self._connects = connect_to_postgresql(location.dsn) if location.dsn else None
        self._engine = _engine(location, self._connects)
        self._file = location.file
        self._identity: tuple[int, int] | None = None
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._jobs: deque[_Job] = deque()
        self._later: deque[_Job] = deque()
        """The jobs that may wait."""
        self._was_later = False
        self._readers = ThreadPoolExecutor(_READERS, "store-reader")
        self._closes = threading.Event()
        self._failures: dict[str, tuple[float, str]] = {}
        """When an attempt of a work that writes or reads last failed, and why."""
        self._of_thread = threading.local()
        self._connections: set[Connection] = set()
        self._is_ahead = False
        self.activity = Activity()

    @property
    def dialect(self) -> str:
        """The name of SQLAlchemy's dialect: `sqlite` or `postgresql`."""
        return self._engine.dialect.name

    async def read(self, work: Work[_T]) -> _T:
        """Return what `work` reads.

        Raises UNAVAILABLE if the database does not answer, and what SQLAlchemy raises if the
        database refuses the work.
        """
        loop = asyncio.get_running_loop()
        since = time.monotonic()
        return await loop.run_in_executor(self._readers, self._run, work, "BEGIN", since)

    async def write_beside(self, work: Work[_T]) -> _T:
        """Run `work` in a transaction of PostgreSQL that waits for no other write of this process.

        Raises as `read` does. After UNAVAILABLE the transaction may be committed.
        """
        try:
            return await self.read(work)
        except StatusError as error:
            self.activity.failed(error.message)
            raise

    async def write(
        self, work: Work[_T], *, may_wait: bool = False, since: float | None = None
    ) -> _T:
        """Run `work` in a transaction, and return its result once the transaction is committed.

        If it `may_wait`, because no caller waits for it, works that must not go first, but not for
        long. Works that may wait keep their order.
        `since` is when its callers began to wait, on the monotonic clock, if that was before now.
        Raises as `read` does. After UNAVAILABLE the transaction may be committed.
        """
        begin = time.perf_counter()
        job = _Job(work, time.monotonic() if since is None else since)
        (self._later if may_wait else self._jobs).append(job)
        self._writer.submit(self._write)
        try:
            done: _T = await asyncio.wrap_future(job.done)
        except StatusError as error:
            self.activity.failed(error.message)
            raise
        self._is_ahead = self._file is not None
        self.activity.wrote(time.perf_counter() - begin)
        return done

    def _write(self) -> None:
        """Run the works that wait, in one transaction if the database is a file.

        Then the works that came during the last commit wait for one commit together. If one of them
        fails, each runs in a transaction of its own.
        """
        waiting, jobs = self._turn(), list[_Job]()
        if not self._take(waiting, jobs):
            return
        if self._file is not None and self._write_together(waiting, jobs):
            return
        # Transactions of several processes that lock many rows would wait for each other.
        while self._file is None and waiting is self._later and len(jobs) < _FEW:
            if not self._take(waiting, jobs):
                break
        for job in jobs:
            try:
                job.done.set_result(self._run(job.work, "BEGIN IMMEDIATE", job.since))
            except Exception as error:  # noqa: BLE001 - the caller of the work gets it
                job.done.set_exception(error)

    def _turn(self) -> deque[_Job]:
        """Return the jobs whose turn it is: both alternate if one that may wait has waited long."""
        is_late = self._later and time.monotonic() - self._later[0].since > _LONG
        self._was_later = not self._jobs or bool(is_late and not self._was_later)
        return self._later if self._was_later else self._jobs

    def _take(self, waiting: deque[_Job], jobs: list[_Job]) -> bool:
        """Add a waiting job to those of a turn; return False if the turn is full.

        A turn of jobs that may wait is full after a few of them if a job comes that must not.
        """
        while waiting and len(jobs) < _MOST_TOGETHER:
            if len(jobs) >= _FEW and waiting is self._later and self._jobs:
                return False
            job = waiting.popleft()
            if job.done.set_running_or_notify_cancel():
                jobs.append(job)
                return True
        return False

    def _write_together(self, waiting: deque[_Job], jobs: list[_Job]) -> bool:
        """Run jobs in one transaction, with others that wait.

        Return False if each is to run alone.
        """

        def work(connection: Connection) -> list[Any]:
            results = [job.work(connection) for job in jobs]
            while self._take(waiting, jobs):
                results.append(jobs[-1].work(connection))
            return results

        try:
            results = self._run(work, "BEGIN IMMEDIATE", jobs[-1].since)
        except StatusError as error:
            for job in jobs:
                job.done.set_exception(error)
            return True
        except Exception:  # noqa: BLE001 - the work that fails will fail again, alone
            return False
        for job, result in zip(jobs, results, strict=True):
            job.done.set_result(result)
        return True

    async def checkpoint(self) -> None:
        """Copy into a file of SQLite what was committed since the last time, beside all writes."""
        if self._is_ahead:
            self._is_ahead = False
            await asyncio.get_running_loop().run_in_executor(self._readers, self._checkpoint)

    def _checkpoint(self) -> None:
        # A copy that fails is made later, at the latest when the log is too long.
        with suppress(StatusError, SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error):
            driver: Any = self._connection("BEGIN").connection.driver_connection
            driver.execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    async def listen(self, channel: str, told: Callable[[str], None]) -> None:
        """Call `told` with the payload of each NOTIFY of a channel of PostgreSQL, for ever.

        The connection is opened again if it is lost. Whenever it begins to listen, something may
        have been missed, and `told` gets an empty text.
        """
        loop = asyncio.get_running_loop()
        stops = threading.Event()
        try:
            while True:
                try:
                    await asyncio.to_thread(
                        self._listen,
                        channel,
                        lambda payload: loop.call_soon_threadsafe(told, payload),
                        stops,
                    )
                except self._engine.dialect.loaded_dbapi.Error:
                    await asyncio.sleep(_PATIENCE)
        finally:
            stops.set()

    def _listen(self, channel: str, told: Callable[[str], object], stops: threading.Event) -> None:
        if self._connects is None:
            raise TypeError("only PostgreSQL has NOTIFY")
        with closing(self._connects()) as connection:
            connection.autocommit = True
            connection.execute(f"LISTEN {channel}")
            told("")
            while not (stops.is_set() or self._closes.is_set()):
                for notice in connection.notifies(timeout=_PAUSE * 5, stop_after=1):
                    told(notice.payload)

    async def close(self) -> None:
        """Wait for the running transactions, and close all connections."""
        self._closes.set()
        for threads in (self._writer, self._readers):
            await asyncio.to_thread(threads.shutdown)
        for connection in self._connections:
            connection.close()
        self._engine.dispose()

    def _run(self, work: Work[_T], begin: str, since: float) -> _T:
        """Run a work that has waited for its thread since a time on the monotonic clock.

        Works wait behind those that are tried again while the database does not answer. One that
        has waited for too long by then is not tried, so that each caller gets its error in time.
        """
        give_up = since + _PATIENCE
        failed, reason = self._failures.get(begin, (-math.inf, ""))
        if failed >= since and time.monotonic() >= give_up:
            raise _unavailable(reason)
        while True:
            try:
                result = self._in_transaction(self._connection(begin), work)
                self._check_file()
            except _MISTAKES:
                raise
            except SQLAlchemyError as error:
                reason = reason_of(error)
                self._failures[begin] = time.monotonic(), reason
                if not _may_pass(error) or time.monotonic() >= give_up or self._closes.is_set():
                    raise _unavailable(reason) from None
            else:
                self._failures.pop(begin, None)
                return result
            self._closes.wait(_PAUSE)

    def _connection(self, begin: str) -> Connection:
        """Return the connection of this thread."""
        # Measured: to take a connection from the pool and to put it back takes 0.1 ms.
        connection: Connection | None = getattr(self._of_thread, "connection", None)
        if connection is None:
            if self._identity is not None:
                # SQLite would read its log with another file, and copy the log into it.
                self._check_file()
            # Only `_begin_sqlite` reads this option.
            connection = self._engine.connect().execution_options(begin=begin)
            self._of_thread.connection = connection
            self._connections.add(connection)
        return connection

    def _in_transaction(self, connection: Connection, work: Work[_T]) -> _T:
        try:
            with connection.begin():
                return work(connection)
        except _MISTAKES:
            raise
        except SQLAlchemyError:
            # SQLite opens a file only for reads if it cannot be written at that moment.
            self._of_thread.connection = None
            self._connections.discard(connection)
            connection.invalidate()
            connection.close()
            raise

    def _check_file(self) -> None:
        """Raise UNAVAILABLE if the open file of SQLite is no longer at its path.

        SQLite would go on to write into the file that was deleted or replaced.
        """
        if self._file is None:
            return
        try:
            status = self._file.stat()
        except OSError:
            found = None
        else:
            found = (status.st_dev, status.st_ino)
            self._identity = self._identity or found
        if found is None or found != self._identity:
            raise _unavailable(_MOVED)


def _unavailable(reason: str) -> StatusError:
    return status_error(
        Code.UNAVAILABLE, f"the gateway's store does not answer: {reason}", "STORE_UNAVAILABLE"
    )


def reason_of(error: SQLAlchemyError) -> str:
    """Return the first line of the driver's message, which has no statement and no value.

    A file that is damaged is not mended by waiting, so the text then says what to do.
    """
    original = error.orig if isinstance(error, DBAPIError) and error.orig else error
    line = (str(original).strip().splitlines() or [type(original).__name__])[0]
    is_damaged = getattr(original, "sqlite_errorname", "").startswith(_DAMAGED)
    return f"{line}; {_RESTORE}" if is_damaged else line


def _may_pass(error: SQLAlchemyError) -> bool:
    """Return whether the connection is lost or refused, so that another one may work."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or (
        isinstance(error, sa.exc.OperationalError) and error.statement is None
    )


def _engine(location: Location, connects: Callable[[], Any] | None) -> Engine:
    options: dict[str, Any] = {"hide_parameters": True, "pool_size": _READERS + 1}
    if connects is not None:
        # No column is an hstore, of which each first connection would ask the server.
        options["use_native_hstore"] = False
        return sa.create_engine("postgresql+psycopg://", creator=connects, **options)
    url = sa.URL.create("sqlite", database=str(location.file))
    engine = sa.create_engine(url, connect_args={"check_same_thread": False}, **options)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # `sqlite3` would begin transactions late, and not before reads.
    connection.isolation_level = None
    pragmas = ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY}")
    for pragma in (*pragmas, f"wal_autocheckpoint={_LONGEST_LOG}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
