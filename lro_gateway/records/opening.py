"""Opens the store. Only these functions import the database library, and only if there is a store.

The import takes 0.2 s and 13 MB.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import StatusError
from lro_gateway.records.activity import Activity
from lro_gateway.records.approval import ApprovalRecords
from lro_gateway.records.archived import Archive, ArchiveLimits
from lro_gateway.records.changed_names import NO_CHANGES, StoredNames
from lro_gateway.records.entries import Journal, JournalLimits, new_id
from lro_gateway.records.event_entries import WORK
from lro_gateway.records.event_records import EventRecords
from lro_gateway.records.file_lock import file_lock
from lro_gateway.records.importing import imported
from lro_gateway.records.location import Location, StoreError, StoreFileError
from lro_gateway.records.owners import Owners
from lro_gateway.records.working import History

_RATES: Final = "lro_gateway.records.rates"
_CHECKPOINTS: Final = "lro_gateway.records.checkpoints"
_LEADS: Final = "lro_gateway.records.leads"
_OWNER_QUERIES: Final = "lro_gateway.records.owner_queries"
WITHOUT_STORE: Final = (
    "this gateway runs without a store, and forgets what it started when it stops"
)


@dataclass(frozen=True, slots=True)
class Store:
    """An open store. `before` is the version that its schema had, or None if it was new."""

    location: Location
    before: str | None
    version: str
    journal: Journal
    owners: Owners
    approvals: ApprovalRecords
    history: History
    activity: Activity
    events: EventRecords
    rates: Any = None
    """The rates that replicas share, or None if the store is of one process."""
    leads: Any = None
    """The record of the replicas that poll, or None if only one process uses the store."""
    archive: Archive | None = None
    """The archive, or None if the configuration keeps nothing."""
    has_approvals: bool = False
    """Whether a call waited for an approval when the store was opened, or had waited."""


@asynccontextmanager
async def open_store(
    location: Location,
    journal_limits: JournalLimits | None = None,
    archive_limits: ArchiveLimits | None = None,
    *,
    names: StoredNames = NO_CHANGES,
) -> AsyncIterator[Store]:
    """Open the store, bring its schema up to date, and close it when the context ends.

    What the store has of a former name becomes that of the present one, by `names`. While the store
    is open, a sweeper deletes what has expired.
    Raises `StoreError` if another process uses the file, if a newer program has upgraded the
    schema, if other processes run that may know an operation by a former name, or if the database
    does not answer.
    """
    with ExitStack() as stack:
        if location.file is not None:
            stack.enter_context(file_lock(location.file))
        database, schema = _opened(location)
        try:
            before = await _answered(location, database.write(schema.upgrade))
            if names:
                rename = imported("lro_gateway.records.renaming").rename
                await _answered(location, rename(database, names))
            is_alone = location.file is not None
            approvals = await _approvals(location, database)
            limits = (journal_limits, archive_limits or ArchiveLimits())
            kept = imported(_OWNER_QUERIES).SqlOwners(database)
            events = EventRecords(database, new_id(), WORK)
            running = _running(location, database, *limits, approvals)
            async with running as (journal, archive):
                history = imported("lro_gateway.records.history").SqlHistory(database)
                rates = None if is_alone else imported(_RATES).SqlRates(database)
                leads = None if is_alone else _leads(database, events.replica)
                parts = (journal, kept, approvals, history, database.activity, events)
                found = await _answered(location, approvals.is_used())
                yield Store(location, before, schema.LATEST, *parts, rates, leads, archive, found)
        finally:
            await database.close()


def _leads(database: Any, replica: str) -> Any:
    module: Any = imported(_LEADS)
    return module.SqlLeads(database, replica)


async def _approvals(location: Location, database: Any) -> Any:
    module: Any = imported("lro_gateway.records.approvals")
    approvals = module.SqlApprovals(database)
    await _answered(location, approvals.recover(is_alone=location.file is not None))
    return approvals


@asynccontextmanager
async def _running(
    location: Location,
    database: Any,
    journal_limits: JournalLimits | None,
    archive_limits: ArchiveLimits,
    approvals: Any,
) -> AsyncIterator[tuple[Journal, Archive | None]]:
    """Run the journal and the sweeper. At the end, the journal writes all that waits."""
    module: Any = imported("lro_gateway.records.journal")
    archiving: Any = imported("lro_gateway.records.archive")
    sweeping: Any = imported("lro_gateway.records.sweeper")
    copies = archiving.SqlArchive(database, archive_limits)
    archive: Archive | None = copies if archive_limits.retention else None
    journal = module.SqlJournal(database, journal_limits, archive)
    # Each part of the store lists here what of its rows expires.
    of_events: Any = imported("lro_gateway.records.event_expiry")
    expiring = [*journal.expiring, *copies.expiring, *approvals.expiring]
    expiring += of_events.expiring()
    is_alone = location.file is not None
    if not is_alone:
        expiring += imported(_RATES).expiring()
        expiring += imported(_LEADS).expiring()
    sweeper = sweeping.Sweeper(database, expiring)
    await _answered(location, journal.recover(is_alone=is_alone))
    async with BackgroundTasks(timedelta(0)) as tasks:
        running = tasks.start(journal.run())
        tasks.start(sweeper.run())
        if is_alone:
            tasks.start(imported(_CHECKPOINTS).checkpoint_for_ever(database))
        try:
            yield journal, archive
        finally:
            await journal.close()
            await running


async def examine(location: Location) -> str:
    """Return what is in the store, in words, and change nothing.

    A gateway may use the store meanwhile. Raises `StoreError` as `open_store` does.
    """
    if location.file is not None and not location.file.exists():
        if not _can_create(location.file):
            raise StoreFileError(f"the store {location.file} cannot be created by this user")
        return "new"
    database, schema = _opened(location)
    try:
        version = await _answered(location, database.read(schema.version_of))
    finally:
        await database.close()
    if version is None:
        return "new"
    is_latest = version == schema.LATEST
    return f"schema {version}" if is_latest else f"schema {version}, to become {schema.LATEST}"


def _can_create(file: Path) -> bool:
    directory = next(each for each in file.absolute().parents if each.exists())
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def _opened(location: Location) -> tuple[Any, Any]:
    """Return the database, and the module with its schema's versions."""
    # In a thread, the modules would be in memory that glibc gives to that thread alone.
    module: Any = imported("lro_gateway.records.database")
    schema: Any = imported("lro_gateway.records.upgrade")
    return module.Database(location), schema


async def _answered(location: Location, call: Any) -> Any:
    """Return the result of a call; an error says which store does not answer."""
    try:
        return await call
    except StatusError as error:
        raise StoreError(f"{location}: {error.message}") from error
    except StoreError as error:
        raise StoreError(f"{location}: {error}") from error
