"""Idempotency keys, on both databases."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from lro_gateway.records.database import Database
from lro_gateway.records.entries import EntryState, Key, Knowledge, Query, Start, now
from lro_gateway.records.journal import SqlJournal
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.records.sweeper import Sweeper
from tests.records.test_journal import ALICE, start, state_of

DAY = dt.timedelta(days=1)
KEY = Key("d" * 64, "f" * 64, "id-1", DAY)


@pytest.fixture
async def journal(location: Location) -> AsyncIterator[SqlJournal]:
    """Open the journal of a new store."""
    async with open_store(location) as store:
        assert isinstance(store.journal, SqlJournal)
        yield store.journal


def keyed(key: Key = KEY) -> Start:
    """Return a start with a key."""
    return start(key=key)


async def ids(journal: SqlJournal) -> list[str]:
    """Return the ids of all starts."""
    return [each.id for each in (await journal.page(Query(ALICE, 10))).entries]


async def test_of_many_starts_with_one_key_one_is_recorded(journal: SqlJournal) -> None:
    """All others learn which one it is."""
    starts = [keyed() for _ in range(50)]
    outcomes = await asyncio.gather(*(journal.claim(each) for each in starts))
    (won,) = [each for each, found in zip(starts, outcomes, strict=True) if found is None]
    assert {found.id for found in outcomes if found is not None} == {won.id}
    assert await ids(journal) == [won.id]


async def test_a_claim_that_runs_again_keeps_its_key(journal: SqlJournal) -> None:
    """The first COMMIT may have taken effect although its answer was lost."""
    given = keyed()
    assert await journal.claim(given) is None
    assert await journal.claim(given) is None
    assert await ids(journal) == [given.id]


async def test_a_key_leads_to_what_is_known_of_its_start(journal: SqlJournal) -> None:
    """The second process reads the name of the operation, and the request_id of the call."""
    given = keyed()
    await journal.claim(given)
    found = await journal.earlier(KEY)
    assert found is not None
    assert found.entry is not None
    assert (found.id, found.fingerprint, found.request_id) == (given.id, "f" * 64, "id-1")
    assert (found.entry.state, found.entry.name) == (EntryState.STARTING, None)
    await journal.settle(given, await Knowledge.of(state_of("jobs/1")))
    found = await journal.claim(keyed())
    assert found is not None
    assert found.entry is not None
    assert (found.entry.state, found.entry.name) == (EntryState.RUNNING, "jobs/1")


async def test_a_start_that_the_backend_refused_frees_its_key(journal: SqlJournal) -> None:
    """The caller mends the request, and sends it with the same key."""
    refused, mended = keyed(), keyed(replace(KEY, fingerprint="e" * 64))
    await journal.claim(refused)
    await journal.withdraw(refused)
    assert await journal.earlier(KEY) is None
    assert await journal.claim(mended) is None
    await journal.withdraw(refused)
    assert await ids(journal) == [mended.id]
    assert await journal.earlier(KEY) is not None


async def test_an_expired_key_belongs_to_no_start(journal: SqlJournal) -> None:
    """The next start takes it over, and the old one stays in the journal."""
    old = keyed()
    old = replace(old, started=old.started - 2 * DAY, answer_by=old.answer_by - 2 * DAY)
    await journal.claim(old)
    assert await journal.earlier(KEY) is None
    new = keyed()
    assert await journal.claim(new) is None
    assert {*await ids(journal)} == {old.id, new.id}


async def test_a_key_does_not_expire_while_its_call_is_under_way(journal: SqlJournal) -> None:
    """A start must not begin twice, however short the window is."""
    given = keyed(replace(KEY, window=dt.timedelta(0)))
    await journal.claim(given)
    found = await journal.claim(keyed())
    assert found is not None
    assert found.id == given.id


async def test_of_many_repeats_of_an_unknown_start_one_takes_its_place(journal: SqlJournal) -> None:
    """It has a new id, so that the process that sent the first call no longer has the key."""
    lost = replace(keyed(), answer_by=now() - dt.timedelta(seconds=1))
    await journal.claim(lost)
    repeats = [keyed(replace(KEY, repeats=lost.id)) for _ in range(10)]
    outcomes = await asyncio.gather(*(journal.claim(each) for each in repeats))
    (won,) = [each for each, found in zip(repeats, outcomes, strict=True) if found is None]
    assert await ids(journal) == [won.id]
    await journal.withdraw(lost)
    found = await journal.earlier(KEY)
    assert found is not None
    assert found.id == won.id


async def test_a_key_outlives_the_record_of_its_operation(journal: SqlJournal) -> None:
    """A deletion must not let the same key start a second operation."""
    given = keyed()
    await journal.claim(given)
    await journal.settle(given, await Knowledge.of(state_of("jobs/1")))
    journal.forget("b", "jobs/1")
    await journal.flush()
    found = await journal.claim(keyed())
    assert found is not None
    assert (found.id, found.entry) == (given.id, None)


async def test_the_sweeper_deletes_expired_keys(location: Location) -> None:
    """A key that another start has taken over stays."""
    database = Database(location)
    async with open_store(location) as store:
        journal = store.journal
        assert isinstance(journal, SqlJournal)
        for digest, window in (("a" * 64, -DAY), ("b" * 64, DAY)):
            given = keyed(replace(KEY, digest=digest, window=window))
            await journal.claim(replace(given, answer_by=given.started - DAY))
        assert await Sweeper(database, journal.expiring).sweep() == 1
        assert await journal.earlier(replace(KEY, digest="b" * 64)) is not None
    await database.close()
