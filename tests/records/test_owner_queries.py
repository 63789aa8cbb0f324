"""The owners of operations, on both databases."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from lro_gateway.errors import Code, status_error
from lro_gateway.records.entries import Knowledge, now
from lro_gateway.records.location import Location
from lro_gateway.records.opening import Store, open_store
from lro_gateway.records.owners import Owner
from tests.records.test_journal import ALICE, BOB, EVE, begun, start

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(location: Location) -> AsyncIterator[Store]:
    """Open a new store."""
    async with open_store(location) as opened:
        yield opened


async def test_operations_have_the_owners_that_started_them(store: Store) -> None:
    """A repeated start may give one operation to a second caller. Other backends do not count."""
    await begun(store.journal, "jobs/1")
    await begun(store.journal, "jobs/2", EVE)
    await begun(store.journal, "jobs/2", BOB)
    await begun(store.journal, "jobs/3", backend="c")
    await begun(store.journal, "jobs/\x002", BOB)
    names = [*(f"jobs/{number}" for number in range(1200)), "jobs/\x002"]
    assert await store.owners.of("b", names) == {
        "jobs/1": {Owner.of(ALICE)},
        "jobs/2": {Owner.of(EVE), Owner.of(BOB)},
        "jobs/\x002": {Owner.of(BOB)},
    }
    assert await store.owners.of("c", ["jobs/3"]) == {"jobs/3": {Owner.of(ALICE)}}
    assert await store.owners.of("b", []) == {}


async def test_a_start_without_a_name_is_due_until_its_call_has_ended(store: Store) -> None:
    """Afterwards its operation is lost. A refused start is none."""
    due, late = start(), replace(start(EVE), answer_by=now() - dt.timedelta(seconds=1))
    lost, refused, elsewhere = start(BOB), start(), start(backend="c")
    for each in (due, late, lost, refused, elsewhere):
        await store.journal.begin(each)
    gone = status_error(Code.DEADLINE_EXCEEDED, "no answer", "DEADLINE")
    await store.journal.settle(lost, Knowledge.unknown(gone))
    await store.journal.withdraw(refused)
    await begun(store.journal, "jobs/1")
    nameless, owned = await store.owners.examine("b", ["jobs/1", "jobs/2"])
    assert owned == {"jobs/1": {Owner.of(ALICE)}}
    assert {each.id: each.is_due for each in nameless} == {
        due.id: True,
        late.id: False,
        lost.id: False,
    }
    (found,) = (each for each in nameless if each.id == due.id)
    assert (found.owner, found.started) == (Owner.of(ALICE), due.started)
    assert found.answer_by == due.answer_by
