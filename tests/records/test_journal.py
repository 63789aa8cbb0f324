"""The rows of the journal, on both databases."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
import sqlalchemy as sa
from google.longrunning import operations_pb2
from google.rpc import status_pb2

from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS, Principal
from lro_gateway.records import statements
from lro_gateway.records.database import Database, Work
from lro_gateway.records.entries import (
    Entry,
    EntryState,
    Journal,
    Knowledge,
    Query,
    Start,
    first_id,
    now,
)
from lro_gateway.records.journal import SqlJournal
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.records.schema import OPERATIONS
from lro_gateway.records.upgrade import upgrade
from tests import factory
from tests.postgresql import PostgreSql, postgresql

_T = TypeVar("_T")

ALICE = Principal("alice", "https://issuer", "acme", client="agent")
BOB = Principal("bob", "https://issuer", "acme")
EVE = Principal("alice", "https://other", "evil")
LOST = status_error(Code.NOT_FOUND, "it is gone", "GONE")


@pytest.fixture
async def journal(location: Location) -> AsyncIterator[SqlJournal]:
    """Open the journal of a new store."""
    async with open_store(location) as store:
        assert isinstance(store.journal, SqlJournal)
        yield store.journal


def start(caller: Principal = ALICE, **fields: Any) -> Start:
    """Return a start that is about to be sent."""
    values = {"backend": "b", "method": "acme.v1.Jobs/RunJob", "digest": "0" * 64, **fields}
    return Start(caller, answer_by=now() + dt.timedelta(minutes=1), **values)


def state_of(name: str, **fields: Any) -> Operation:
    """Return a state of an operation, as a backend answers it now."""
    proto = operations_pb2.Operation(name=name, **fields)
    return Operation("b", GatewayName(name), proto, factory.types(), now().timestamp())


async def begun(journal: Journal, name: str, caller: Principal = ALICE, **fields: Any) -> Start:
    """Record a start whose operation runs."""
    given = start(caller, **fields)
    await journal.begin(given)
    await journal.settle(given, await Knowledge.of(state_of(name)))
    return given


async def entries(journal: SqlJournal, caller: Principal = ALICE, **fields: Any) -> list[Entry]:
    """Return the first page of a caller's entries."""
    return list((await journal.page(Query(caller, 10, **fields))).entries)


async def names(journal: SqlJournal, caller: Principal = ALICE, **fields: Any) -> list[str | None]:
    """Return the names of a caller's entries."""
    return [each.name for each in await entries(journal, caller, **fields)]


async def test_a_start_is_recorded_before_and_after_its_call(journal: SqlJournal) -> None:
    """Between the two it has no name."""
    given = start(request='{"a": 1}')
    await journal.begin(given)
    (entry,) = await entries(journal)
    assert entry.started == given.started
    assert (entry.id, entry.name, entry.state) == (given.id, None, EntryState.STARTING)
    await journal.settle(given, await Knowledge.of(state_of("jobs/1")))
    (entry,) = await entries(journal)
    assert (entry.name, entry.state, entry.request) == ("jobs/1", EntryState.RUNNING, '{"a": 1}')


async def test_a_refused_start_leaves_nothing(journal: SqlJournal) -> None:
    """The backend has said that nothing began."""
    given = start()
    await journal.begin(given)
    await journal.withdraw(given)
    assert await entries(journal) == []


async def test_a_start_without_an_answer_in_time_is_unknown(journal: SqlJournal) -> None:
    """Its process may have been killed, and nobody can know whether the operation began."""
    given = replace(start(), answer_by=now() - dt.timedelta(seconds=1))
    await journal.begin(given)
    (entry,) = await entries(journal, state=EntryState.UNKNOWN)
    assert entry.message == statements.ABANDONED
    assert await entries(journal, state=EntryState.STARTING) == []


async def test_a_restart_finds_the_starts_that_a_kill_has_interrupted(tmp_path: Path) -> None:
    """The file of SQLite belonged to that process alone, so none of its starts can still end.

    With PostgreSQL, the starts of other replicas may still end.
    """
    location = Location(tmp_path / "store.sqlite3")
    async with open_store(location) as store:
        await store.journal.begin(start())
    async with open_store(location) as store:
        assert isinstance(store.journal, SqlJournal)
        (entry,) = await entries(store.journal)
    assert (entry.state, entry.message) == (EntryState.UNKNOWN, statements.ABANDONED)


async def test_what_reads_see_is_recorded(journal: SqlJournal) -> None:
    """The end of an operation is final, whatever a later answer says."""
    await begun(journal, "jobs/1")
    failed = status_pb2.Status(code=8, message="no\x00 quota")
    journal.observe(state_of("jobs/1"))
    journal.observe(state_of("jobs/1", done=True, error=failed))
    await journal.flush()
    (entry,) = await entries(journal)
    assert (entry.state, entry.code, entry.message) == (EntryState.FAILED, 8, "no\ufffd quota")
    assert entry.finished == entry.seen
    journal.observe(state_of("jobs/1"))
    await journal.flush()
    assert await entries(journal) == [entry]


async def test_an_end_that_was_seen_is_selected_at_once(journal: SqlJournal) -> None:
    """By its state and by its error, and a row whose operation was deleted is not."""
    for name in ("jobs/1", "jobs/2", "jobs/3"):
        await begun(journal, name)
    failed = status_pb2.Status(code=8, message="no quota")
    journal.observe(state_of("jobs/1", done=True, error=failed))
    assert await names(journal, state=EntryState.RUNNING) == ["jobs/3", "jobs/2"]
    journal.lose("b", "jobs/2", LOST)
    assert await names(journal, state=EntryState.UNKNOWN) == ["jobs/2"]
    assert await names(journal, text="QUOTA") == ["jobs/1"]
    journal.forget("b", "jobs/3")
    assert await names(journal) == ["jobs/2", "jobs/1"]


async def test_a_store_that_is_locked_still_lists_what_it_has(tmp_path: Path) -> None:
    """The end is written later."""
    file = tmp_path / "store.sqlite3"
    async with open_store(Location.parse(f"sqlite:///{file}")) as store:
        assert isinstance(store.journal, SqlJournal)
        await begun(store.journal, "jobs/1")
        with closing(sqlite3.connect(file)) as other:
            other.execute("BEGIN IMMEDIATE")
            store.journal.observe(state_of("jobs/1", done=True))
            assert await names(store.journal, state=EntryState.RUNNING) == ["jobs/1"]
        await store.journal.flush()
        assert await names(store.journal, state=EntryState.SUCCEEDED) == ["jobs/1"]


async def test_another_process_records_the_end(location: Location) -> None:
    """It finds the row by the name of the operation, because it did not start it."""
    async with open_store(location) as store:
        assert isinstance(store.journal, SqlJournal)
        await begun(store.journal, "jobs/1")
    async with open_store(location) as store:
        assert isinstance(store.journal, SqlJournal)
        store.journal.observe(state_of("jobs/1", done=True))
        store.journal.observe(state_of("jobs/of-nobody", done=True))
        await store.journal.flush()
        (entry,) = await entries(store.journal)
    assert (entry.name, entry.state) == ("jobs/1", EntryState.SUCCEEDED)


async def test_the_end_of_the_process_writes_what_waits(location: Location) -> None:
    """A state that was seen in the last second is not lost by a restart."""
    async with open_store(location) as store:
        assert isinstance(store.journal, SqlJournal)
        await begun(store.journal, "jobs/1")
        store.journal.observe(state_of("jobs/1", done=True))
    async with open_store(location) as store:
        assert isinstance(store.journal, SqlJournal)
        assert [each.state for each in await entries(store.journal)] == [EntryState.SUCCEEDED]


async def test_an_operation_that_its_backend_has_lost_is_unknown(journal: SqlJournal) -> None:
    """It ended, or the backend lost it, and nobody can tell which."""
    await begun(journal, "jobs/1")
    journal.lose("b", "jobs/1", LOST)
    await journal.flush()
    (entry,) = await entries(journal, state=EntryState.UNKNOWN)
    assert (entry.name, entry.code, entry.message) == ("jobs/1", 5, "it is gone")


async def test_an_end_that_was_read_is_not_lost(journal: SqlJournal) -> None:
    """A backend may forget an operation as soon as somebody has read its end."""
    await begun(journal, "jobs/1")
    journal.observe(state_of("jobs/1", done=True))
    journal.lose("b", "jobs/1", LOST)
    await journal.flush()
    (entry,) = await entries(journal)
    assert entry.state is EntryState.SUCCEEDED


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("done", [False, True], ids=["it runs", "it has ended"])
async def test_an_operation_that_was_lost_can_be_found_again(
    location: Location, *, done: bool, restarts: bool
) -> None:
    """Another replica may have read its end, or its backend may have been restored."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(location))
        await begun(store.journal, "jobs/1")
        store.journal.lose("b", "jobs/1", LOST)
        await store.journal.flush()
        if restarts:
            await stack.aclose()
            store = await stack.enter_async_context(open_store(location))
        store.journal.observe(state_of("jobs/1", done=done))
        await store.journal.flush()
        assert isinstance(store.journal, SqlJournal)
        (entry,) = await entries(store.journal)
    expected = EntryState.SUCCEEDED if done else EntryState.RUNNING
    assert (entry.state, entry.finished is not None, entry.message) == (expected, done, None)


async def test_a_deleted_operation_is_forgotten(journal: SqlJournal) -> None:
    """Its record is deleted at the backend too."""
    await begun(journal, "jobs/1")
    await begun(journal, "jobs/2")
    journal.forget("b", "jobs/1")
    await journal.flush()
    assert await names(journal) == ["jobs/2"]


async def test_each_caller_sees_its_own(journal: SqlJournal) -> None:
    """The same subject of another issuer is another caller. A tenant sees what its members did."""
    await begun(journal, "jobs/a", ALICE)
    await begun(journal, "jobs/b", BOB)
    await begun(journal, "jobs/e", EVE)
    await begun(journal, "jobs/n", ANONYMOUS)
    assert await names(journal, ALICE) == ["jobs/a"]
    assert await names(journal, replace(ALICE, client="another agent")) == ["jobs/a"]
    assert await names(journal, ALICE, of_tenant=True) == ["jobs/b", "jobs/a"]
    assert await names(journal, EVE, of_tenant=True) == ["jobs/e"]
    assert await names(journal, ANONYMOUS, of_tenant=True) == ["jobs/n"]


async def test_every_text_of_a_start_is_kept(journal: SqlJournal) -> None:
    """PostgreSQL has no NUL, neither in a text nor in a text of JSON."""
    caller = replace(ALICE, client="c\x00")
    given = start(caller, method="p.S/\x00", request='{"note": "a\x00b\\u0000"}')
    await journal.begin(given)
    await journal.settle(given, await Knowledge.of(state_of("jobs/\x00Odd")))
    (entry,) = await entries(journal, caller)
    assert entry.name == "jobs/\ufffdOdd"
    assert (entry.method or "")[-1] in {"\x00", "\ufffd"}
    assert (entry.request or "").endswith('b\\u0000"}')
    assert await names(journal, text="\x00oD") == ["jobs/\ufffdOdd"]
    assert await names(journal, text="odd") == ["jobs/\ufffdOdd"]
    refused = start(caller, method="p.S/Refused")
    failed = status_pb2.Status(code=8, message="no\x00 quota")
    await journal.begin(refused)
    await journal.settle(refused, await Knowledge.of(state_of("jobs/2", done=True, error=failed)))
    (ended,) = await entries(journal, caller, method="refused")
    assert (ended.state, ended.message) == (EntryState.FAILED, "no\ufffd quota")


async def test_entries_are_selected(journal: SqlJournal) -> None:
    """The newest come first. A character that is special in LIKE means itself."""
    first = await begun(journal, "jobs/1", method="acme.v1.Jobs/RunJob")
    second = await begun(journal, "jobs/100%", backend="c", request='{"note": "Blue"}')
    journal.observe(state_of("jobs/1", done=True))
    await journal.flush()
    assert await names(journal) == ["jobs/100%", "jobs/1"]
    assert await names(journal, state=EntryState.RUNNING) == ["jobs/100%"]
    assert await names(journal, state=EntryState.SUCCEEDED) == ["jobs/1"]
    assert await names(journal, backend="c") == ["jobs/100%"]
    assert await names(journal, method="runjob") == ["jobs/100%", "jobs/1"]
    assert await names(journal, text="bLuE") == ["jobs/100%"]
    assert await names(journal, text="0%") == ["jobs/100%"]
    assert await names(journal, text="1%") == []
    assert await names(journal, text="b\x00Lue") == []
    assert await names(journal, until=first.started) == []
    assert await names(journal, since=second.started + dt.timedelta(seconds=1)) == []
    assert await names(journal, since=first.started) == ["jobs/100%", "jobs/1"]


@pytest.mark.parametrize(
    "text",
    [
        *("größe", "GRÖSSE", "Größe", "ärger", "ÄRGER", "ÉTÉ"),
        *('"xl"', 'e "XL" \\ Ä', "\\", "ärger\nété", "note", '{"note"'),
    ],
)
async def test_a_text_of_a_request_is_found_as_its_caller_knows_it(
    journal: SqlJournal, text: str
) -> None:
    """In any case, also beyond ASCII, and without the escapes of JSON."""
    note = 'Größe "XL" \\ Ärger\nété GRÖSSE'
    await begun(journal, "jobs/1", request=orjson.dumps({"note": note}).decode())
    await begun(journal, "jobs/2", request='{"size": "Grosse"}')
    assert await names(journal, text=text) == ["jobs/1"]


async def test_pages_follow_each_other(journal: SqlJournal) -> None:
    """No entry is on two pages, and none is left out."""
    for number in range(5):
        await begun(journal, f"jobs/{number}")
    found, before = [], ""
    while True:
        page = await journal.page(Query(ALICE, 2, before=before))
        found.append([each.name for each in page.entries])
        before = page.following
        if not before:
            break
    assert found == [["jobs/4", "jobs/3"], ["jobs/2", "jobs/1"], ["jobs/0"]]


async def test_a_search_ends_after_a_bounded_number_of_rows(
    journal: SqlJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page may be empty, and the next page goes on, so that no search holds up the others."""
    monkeypatch.setattr(statements, "SCANNED", 2)
    for number in range(4):
        await begun(journal, f"jobs/{number}")
    first = await journal.page(Query(ALICE, 10, text="jobs/0"))
    assert first.entries == []
    second = await journal.page(Query(ALICE, 10, text="jobs/0", before=first.following))
    assert [each.name for each in second.entries] == ["jobs/0"]


async def test_a_row_that_the_database_refuses_does_not_fail_the_others(
    journal: SqlJournal,
) -> None:
    """They may share a transaction."""
    bad, good = start(method=None), start()
    waiting = [journal.begin(bad), journal.begin(good)]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each).__name__ for each in outcomes] == ["IntegrityError", "NoneType"]
    assert [each.id for each in await entries(journal)] == [good.id]


@pytest.mark.parametrize(
    ("fields", "index"),
    [
        ({}, "operations_of_owner"),
        ({"state": EntryState.RUNNING}, "operations_unfinished"),
        ({"of_tenant": True}, "operations_of_tenant"),
        ({"of_tenant": True, "personal": frozenset({"b"})}, "operations_of_tenant"),
        ({"of_tenant": True, "state": EntryState.RUNNING}, "operations_unfinished"),
    ],
)
async def test_a_page_reads_no_rows_of_others(
    location: Location, fields: dict[str, Any], index: str
) -> None:
    """Its index has the order of the page, also where others have started much more since then."""
    if location.file is not None:
        location.file.parent.mkdir()
    database = Database(location)
    await database.write(upgrade)
    rows = [
        {**statements.start_row(start(caller)), "name": "jobs/1", "finished": now()}
        for caller in (ALICE, EVE)
        for _ in range(2_000)
    ]
    unfinished = statements.start_row(start(ALICE))
    query = statements.page(Query(ALICE, 20, **fields), [], None, now())

    def plan(connection: sa.Connection) -> str:
        connection.execute(OPERATIONS.insert(), rows)
        connection.execute(OPERATIONS.insert(), unfinished)
        connection.exec_driver_sql("ANALYZE")
        is_postgresql = connection.dialect.name == "postgresql"
        dialect: Any = connection.dialect
        if not is_postgresql:
            dialect = type(dialect)(paramstyle="named")
        options = {"render_postcompile": True}
        compiled = query.compile(dialect=dialect, compile_kwargs=options)
        # The driver takes no time as a value of SQLite, and any text does for a plan.
        given = compiled.params.items()
        values = {name: each if isinstance(each, int) else str(each) for name, each in given}
        how = "EXPLAIN" if is_postgresql else "EXPLAIN QUERY PLAN"
        explained = connection.exec_driver_sql(f"{how} {compiled}", values)
        return "\n".join(str(row[-1]) for row in explained)

    try:
        found = await database.write(plan)
    finally:
        await database.close()
    assert index in found
    assert "operations_pkey" not in found


class _Reading(Database):
    """A database of PostgreSQL that counts the rows of the journal that it reads."""

    rows = 0
    _ROWS = sa.text(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
        " WHERE relname = 'operations'"
    )

    async def read(self, work: Work[_T]) -> _T:
        """Count the rows of a transaction."""

        def counted(connection: sa.Connection) -> _T:
            before = connection.scalar(self._ROWS)
            found = work(connection)
            self.rows += connection.scalar(self._ROWS) - before
            return found

        return await super().read(counted)


@pytest.mark.parametrize("fields", [{}, {"of_tenant": True}])
async def test_a_search_reads_few_rows_of_a_table_that_was_never_analyzed(
    server: PostgreSql, fields: dict[str, Any]
) -> None:
    """PostgreSQL would read all rows of the owner, or of everybody, and sort them."""
    database = _Reading(Location.parse(server.create_database()))
    await database.write(upgrade)
    rows = [statements.start_row(start()) for _ in range(3 * statements.SCANNED)]
    await database.write(lambda connection: connection.execute(OPERATIONS.insert(), rows).close())
    page = await SqlJournal(database).page(Query(ALICE, 20, text="nothing", **fields))
    assert page.entries == []
    # It looks for the last row of those that it searches, and then searches.
    assert statements.SCANNED <= database.rows <= 2 * statements.SCANNED
    await database.close()


class _Counting(Database):
    """A database that counts its transactions."""

    writes = 0

    async def write(
        self, work: Work[_T], *, may_wait: bool = False, since: float | None = None
    ) -> _T:
        """Count a transaction."""
        self.writes += 1
        return await super().write(work, may_wait=may_wait, since=since)


async def test_starts_that_are_on_their_way_share_a_transaction(tmp_path: Path) -> None:
    """A batch waits some turns of the event loop for them, if the last one was shared too."""
    database = _Counting(Location(tmp_path / "store.sqlite3"))
    await database.write(upgrade)
    journal = SqlJournal(database)
    running = asyncio.create_task(journal.run())

    async def begin_later() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await journal.begin(start())

    writes = [database.writes]
    for later in (journal.begin(start()), begin_later()):
        await asyncio.gather(journal.begin(start()), later)
        writes.append(database.writes)
    assert [b - a for a, b in pairwise(writes)] == [1, 1]
    await journal.close()
    await running
    await database.close()


async def test_a_backup_of_a_running_gateway_can_be_restored(tmp_path: Path) -> None:
    """The copy has all that is committed, and a gateway starts with it."""
    file, copy = tmp_path / "store.sqlite3", tmp_path / "copy.sqlite3"
    location = Location(file)
    async with open_store(location) as store:
        assert isinstance(store.journal, SqlJournal)
        await begun(store.journal, "jobs/1")
        backup = sqlite3.connect(file)
        backup.execute(f"VACUUM INTO '{copy}'")
        backup.close()
        await begun(store.journal, "jobs/2")
    async with open_store(Location(copy)) as store:
        assert isinstance(store.journal, SqlJournal)
        assert await names(store.journal) == ["jobs/1"]


async def test_what_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller of the start gets an error, and the journal goes on trying."""
    monkeypatch.setattr("lro_gateway.records.database._PATIENCE", 0.1)
    with postgresql(is_durable=True) as server:
        async with open_store(Location.parse(server.create_database())) as store:
            journal = store.journal
            assert isinstance(journal, SqlJournal)
            given = start()
            await journal.begin(given)
            server.stop(signal.SIGQUIT)
            with pytest.raises(StatusError):
                await journal.settle(given, await Knowledge.of(state_of("jobs/1")))
            await journal.flush()
            server.start()
            monkeypatch.setattr("lro_gateway.records.database._PATIENCE", 30.0)
            await journal.flush()
            assert await names(journal) == ["jobs/1"]


async def test_a_server_that_restarts_between_two_starts_fails_none() -> None:
    """The batch that meets the lost connection is written by a new one."""
    with postgresql(is_durable=True) as server:
        async with open_store(Location.parse(server.create_database())) as store:
            given = start()
            await store.journal.begin(given)
            server.stop(signal.SIGQUIT)
            server.start()
            await store.journal.settle(given, await Knowledge.of(state_of("jobs/1")))
            page = await store.journal.page(Query(ALICE, 10))
            assert [each.name for each in page.entries] == ["jobs/1"]


def test_ids_are_ordered_by_time() -> None:
    """A page token is an id, so the order of the ids is that of the starts."""
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert first_id(moment) < start().id
    assert len(start().id) == 32
