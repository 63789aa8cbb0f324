"""The copies in the archive, on both databases."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2, status_pb2

from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS
from lro_gateway.records.archive import SqlArchive
from lro_gateway.records.archived import ArchiveLimits, Copy, Trace
from lro_gateway.records.database import Database
from lro_gateway.records.entries import EntryState, Knowledge, Start, now
from lro_gateway.records.journal import SqlJournal
from lro_gateway.records.location import Location
from lro_gateway.records.opening import Store, open_store
from lro_gateway.records.sweeper import Sweeper
from tests import factory

NAME = GatewayName("lines/1/operations/1")


@pytest.fixture
async def store(location: Location) -> AsyncIterator[Store]:
    """Open a store whose archive keeps operations of at most a kilobyte."""
    async with open_store(location, archive_limits=ArchiveLimits(max_bytes=1024)) as opened:
        yield opened


def ended(view: str = "", **fields: Any) -> Operation:
    """Return an operation that has ended."""
    proto = operations_pb2.Operation(name=NAME, done=True, **fields)
    return Operation("b", NAME, proto, factory.types(), now().timestamp(), view=view)


async def begun(store: Store, operation: Operation | None = None) -> SqlJournal:
    """Record a start, whose call has answered with the operation if there is one."""
    assert isinstance(store.journal, SqlJournal)
    start = Start(ANONYMOUS, "b", "factory.v1.Factory/BuildMachine", "0" * 64, now())
    await store.journal.begin(start)
    running = Knowledge(NAME, EntryState.RUNNING, None, now())
    knowledge = running if operation is None else await Knowledge.of(operation)
    await store.journal.settle(start, knowledge)
    return store.journal


async def found(store: Store, view: str = "") -> Trace:
    """Return what the store knows of the operation."""
    assert store.archive is not None
    trace = await store.archive.find("b", NAME, view)
    assert trace is not None
    return trace


async def copy_of(store: Store, view: str = "") -> Copy:
    """Return the copy of the operation."""
    copy = (await found(store, view)).copy
    assert copy is not None
    return copy


async def test_a_call_that_ends_at_once_is_copied_before_its_answer(store: Store) -> None:
    """The caller may poll it at once, and the backend may have forgotten it by then."""
    operation = ended()
    await begun(store, operation)
    copy = await copy_of(store)
    assert operations_pb2.Operation.FromString(copy.message) == operation.proto
    assert copy.archived.omitted == 0
    assert now() - copy.archived.time < dt.timedelta(minutes=1)


async def test_a_read_of_the_end_is_copied_once(store: Store) -> None:
    """The end of an operation is final, so a later answer changes nothing."""
    journal = await begun(store)
    assert (await found(store)).copy is None
    journal.observe(ended())
    await journal.flush()
    first = await copy_of(store)
    journal.observe(ended(error=status_pb2.Status(code=3)))
    await journal.flush()
    assert await copy_of(store) == first


async def test_each_view_has_its_own_copy(store: Store) -> None:
    """A backend may answer each caller differently."""
    journal = await begun(store)
    for view in ("a", "b"):
        journal.observe(ended(view, error=status_pb2.Status(code=3, message=view)))
        await journal.flush()
    messages = [(await copy_of(store, view)).json for view in ("a", "b")]
    assert b'"message":"a"' in messages[0]
    assert b'"message":"b"' in messages[1]
    assert (await found(store)).copy is None


async def test_what_was_deleted_is_not_copied_later(store: Store) -> None:
    """An answer may arrive after its operation was deleted."""
    journal = await begun(store)
    journal.observe(ended())
    assert store.archive is not None
    await store.archive.remove("b", NAME)
    await journal.flush()
    assert await store.archive.find("b", NAME, "") is None


async def test_another_gateway_has_no_copy_of_what_it_did_not_start(store: Store) -> None:
    """The journal has no operation of this name."""
    assert store.archive is not None
    assert isinstance(store.journal, SqlJournal)
    store.journal.observe(ended())
    await store.journal.flush()
    assert await store.archive.find("b", NAME, "") is None


async def test_the_details_of_an_error_are_left_out_if_they_are_large(store: Store) -> None:
    """The code and the message say why it failed."""
    error: Any = status_pb2.Status(code=3, message="m" * 5000)
    error.details.add().Pack(error_details_pb2.ErrorInfo(reason="R" * 2000))
    await begun(store, ended(error=error))
    copy = await copy_of(store)
    kept = operations_pb2.Operation.FromString(copy.message)
    assert kept.done
    assert kept.error == status_pb2.Status(code=3, message="m" * 4096)
    assert copy.archived.omitted > 2000


async def test_large_metadata_is_left_out_too(store: Store) -> None:
    """The copy would be too large with it, although the response is missing."""
    operation = ended()
    operation.proto.metadata.Pack(factory.message("Machine", title="x" * 3000))
    await begun(store, operation)
    kept = operations_pb2.Operation.FromString((await copy_of(store)).message)
    assert kept == operations_pb2.Operation(name=NAME, done=True)


async def test_a_copy_expires(location: Location) -> None:
    """A shorter retention also holds for the copies that are there. The sweeper deletes them."""
    async with open_store(location) as store:
        await begun(store, ended())
    limits = ArchiveLimits(dt.timedelta(microseconds=1))
    async with open_store(location, archive_limits=limits) as store:
        trace = await found(store)
        assert (trace.copy, trace.state) == (None, EntryState.SUCCEEDED)
    none = ArchiveLimits(dt.timedelta(0))
    async with open_store(location, archive_limits=none) as store:
        assert store.archive is None
    database = Database(location)
    sweeper = Sweeper(database, SqlArchive(database, none).expiring)
    assert (await sweeper.sweep(), await sweeper.sweep()) == (1, 0)
    await database.close()
