"""For whom an operation exists, by what the journal knows of who started it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2

from lro_gateway.access import ownership as module
from lro_gateway.access.ownership import Ask, Ownership, Visibility
from lro_gateway.access.policy import Explanation, ListAction, OperationAction, Step, Verb
from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.records.entries import Knowledge, now
from lro_gateway.records.journal import SqlJournal
from lro_gateway.records.location import Location
from lro_gateway.records.opening import Store, open_store
from lro_gateway.records.owners import NamelessStart, Owned, Owner, Owners
from tests import factory
from tests.records.test_journal import begun, start

pytestmark = pytest.mark.anyio

ALICE = Principal("alice", "https://id", "acme", client="agent")
AGAIN = Principal("alice", "https://id", "acme", client="terminal")
AMY = Principal("amy", "https://other", "acme")
EVE = Principal("alice", "https://other", "evil")
LONE = Principal("lone", "https://id")
OTHER = Principal("other", "https://id")
DOWN = status_error(Code.UNAVAILABLE, "the store is away", "STORE_UNAVAILABLE")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Open a new store."""
    async with open_store(Location(tmp_path / "store.sqlite3")) as opened:
        yield opened


@dataclass
class Clock:
    """A monotonic clock that a test sets."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Counting:
    """The owners of a store, and how often they were asked. While `is_down`, it fails."""

    owners: Owners
    asked: int = 0
    is_down: bool = False
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a reader has asked again, because it waits for a start."""

    async def of(self, backend: str, names: Sequence[str]) -> Owned:
        self._count()
        return await self.owners.of(backend, names)

    async def examine(
        self, backend: str, names: Sequence[str]
    ) -> tuple[Sequence[NamelessStart], Owned]:
        self._count()
        return await self.owners.examine(backend, names)

    async def of_short_name(
        self, backends: Sequence[str], name: str
    ) -> Mapping[str, frozenset[Owner]]:
        self._count()
        return await self.owners.of_short_name(backends, name)

    def _count(self) -> None:
        self.asked += 1
        if self.asked == 5:
            self.waits.set()
        if self.is_down:
            raise DOWN


@dataclass
class Backend:
    """Reads of operations: each name is of an operation, unless `missing`."""

    missing: bool = False
    answers: dict[str, str] = field(default_factory=dict)
    created: dt.datetime | None = None
    reads: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)

    async def miss(self, name: str) -> Operation:
        self.misses.append(name)
        raise status_error(Code.NOT_FOUND, "no such job", "JOB_MISSING")

    async def read(self, name: str) -> Operation:
        self.reads.append(name)
        if self.missing:
            raise status_error(Code.NOT_FOUND, "no such job", "JOB_MISSING")
        return operation(self.answers.get(name, name), self.created)


def asking(name: str, backend: Backend | None = None) -> tuple[Ask, Ask, Ask]:
    """Return what reads an operation that exists, what misses it, and what reads an adopted one."""
    asked = backend or Backend()
    read = partial(asked.read, name)
    return read, partial(asked.miss, name), read


def operation(name: str, created: dt.datetime | None = None) -> Operation:
    """Return an operation, whose metadata has the time if it is given."""
    proto = operations_pb2.Operation(name=name)
    if created is not None:
        machine = factory.message("Machine")
        machine.start_time.FromDatetime(created)
        proto.metadata.Pack(machine)
    return Operation("b", GatewayName(name), proto, factory.types(), now().timestamp())


async def sees(
    ownership: Ownership, caller: Principal, name: str = "jobs/1", backend: Backend | None = None
) -> bool:
    """Return whether an operation exists for a caller."""
    action = OperationAction(Verb.GET, "b", GatewayName(name))
    try:
        await ownership.check(caller, action, *asking(name, backend))
    except StatusError as error:
        if error.reason != "NO_SUCH_OPERATION":
            raise
        return False
    return True


async def lists(ownership: Ownership, caller: Principal, *operations: Operation) -> list[str]:
    """Return the names of a page that exist for a caller."""
    return [each.name for each in await ownership.shown(caller, "b", operations)]


@pytest.mark.parametrize(
    ("visibility", "seeing"),
    [
        ("owner", [ALICE, AGAIN]),
        ("tenant", [ALICE, AGAIN, AMY]),
        ("all", [ALICE, AGAIN, AMY, EVE, LONE]),
    ],
)
async def test_an_operation_exists_for_its_owner_or_for_the_tenant(
    store: Store, visibility: Visibility, seeing: list[Principal]
) -> None:
    """With another client too. For everybody else the backend is asked as for a missing name."""
    await begun(store.journal, "jobs/1", ALICE)
    backend = Backend()
    callers = (ALICE, AGAIN, AMY, EVE, LONE)
    for caller in callers:
        ownership = Ownership({"b": visibility}, store.owners)
        assert await sees(ownership, caller, backend=backend) is (caller in seeing)
        assert await lists(ownership, caller, operation("jobs/1")) == (
            ["jobs/1"] if caller in seeing else []
        )
    assert backend.reads == []
    assert backend.misses == ["jobs/1"] * (len(callers) - len(seeing))


async def test_callers_without_a_tenant_share_none(store: Store) -> None:
    """Each of them sees only what it has started itself."""
    await begun(store.journal, "jobs/1", LONE)
    ownership = Ownership({"b": "tenant"}, store.owners)
    assert [await sees(ownership, each) for each in (LONE, OTHER, ALICE)] == [True, False, False]


async def test_what_was_not_started_here_exists_for_everybody(store: Store) -> None:
    """And what does not exist has the error of what is hidden, not that of its backend."""
    ownership = Ownership({"b": "owner"}, store.owners)
    assert await sees(ownership, EVE, "jobs/9")
    assert await lists(ownership, EVE, operation("jobs/8")) == ["jobs/8"]
    assert not await sees(ownership, EVE, "jobs/7", Backend(missing=True))


async def test_an_error_of_the_backend_is_passed_on(store: Store) -> None:
    """For a name that is missing and for one that is hidden, if it is not NOT_FOUND."""
    await begun(store.journal, "jobs/1", ALICE)

    async def fail() -> Operation:
        raise status_error(Code.UNAVAILABLE, "the backend is down", "BACKEND_DOWN")

    ownership = Ownership({"b": "owner"}, store.owners)
    for name in ("jobs/1", "jobs/2"):
        action = OperationAction(Verb.GET, "b", GatewayName(name))
        with pytest.raises(StatusError, match="the backend is down"):
            await ownership.check(EVE, action, fail, fail, fail)


async def test_polls_do_not_ask_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of what the caller has started, nor of what was not started here."""
    await begun(store.journal, "jobs/1", ALICE)
    owners = Counting(store.owners)
    ownership = Ownership({"b": "owner"}, owners)
    for _ in range(3):
        assert await sees(ownership, ALICE, "jobs/1")
    assert owners.asked == 1
    for _ in range(3):
        assert await sees(ownership, ALICE, "jobs/9")
        assert await lists(ownership, EVE, operation("jobs/9")) == ["jobs/9"]
    assert owners.asked == 3
    # What is hidden is asked for each time, because a start elsewhere may give it a new owner.
    for _ in range(2):
        assert not await sees(ownership, EVE, "jobs/1")
    assert owners.asked == 5
    monkeypatch.setattr(module, "_FRESH", 0.0)
    assert await sees(ownership, ALICE, "jobs/9")
    assert owners.asked == 6


async def test_a_page_is_one_question(store: Store) -> None:
    """And only for the operations that are not known yet."""
    for number in range(3):
        await begun(store.journal, f"jobs/{number}", ALICE)
    owners = Counting(store.owners)
    ownership = Ownership({"b": "owner"}, owners)
    page = [operation(f"jobs/{number}") for number in range(5)]
    assert await lists(ownership, EVE, *page) == ["jobs/3", "jobs/4"]
    assert await lists(ownership, ALICE, *page) == [each.name for each in page]
    assert owners.asked == 1
    assert await lists(ownership, ALICE) == []


async def test_a_probed_name_gets_its_owner_at_once(store: Store) -> None:
    """On another replica too, although its answer for this name was that nobody owns it."""
    here, replica = (Ownership({"b": "owner"}, store.owners) for _ in range(2))
    for ownership in (here, replica):
        assert not await sees(ownership, EVE, backend=Backend(missing=True))
    here.note(ALICE, "b", "jobs/1")
    # Before the store has it.
    assert await sees(here, ALICE)
    assert not await sees(here, EVE)
    await begun(store.journal, "jobs/1", ALICE)
    for ownership in (here, replica):
        assert not await sees(ownership, EVE)
        assert await sees(ownership, ALICE)


async def test_an_operation_may_get_a_second_owner(store: Store) -> None:
    """By a repeated start, on another replica, that the backend answers with the same operation."""
    ownership = Ownership({"b": "owner"}, store.owners)
    await begun(store.journal, "jobs/1", ALICE)
    assert await sees(ownership, ALICE)
    assert not await sees(ownership, EVE)
    await begun(store.journal, "jobs/1", EVE)
    assert await sees(ownership, EVE)
    assert await sees(ownership, ALICE)


async def test_a_deleted_operation_keeps_its_owner(store: Store) -> None:
    """The backend may show it for a while, although the journal has it no longer."""
    ownership = Ownership({"b": "owner"}, store.owners)
    await begun(store.journal, "jobs/1", ALICE)
    assert await sees(ownership, ALICE)
    store.journal.forget("b", "jobs/1")
    assert isinstance(store.journal, SqlJournal)
    await store.journal.flush()
    assert await store.owners.of("b", ["jobs/1"]) == {}
    assert not await sees(ownership, EVE)


async def test_the_answer_to_a_start_is_waited_for(store: Store) -> None:
    """The operation exists at the backend before the gateway knows its name."""
    owners = Counting(store.owners)
    ownership = Ownership({"b": "owner"}, owners)
    given = start(ALICE)
    await store.journal.begin(given)
    # Nobody waits for its own start, and it is not kept yet that nobody owns the operation.
    assert await sees(ownership, ALICE)
    looking = asyncio.create_task(sees(ownership, EVE))
    await owners.waits.wait()
    listing = asyncio.create_task(lists(ownership, EVE, operation("jobs/1"), operation("jobs/2")))
    await store.journal.settle(given, await Knowledge.of(operation("jobs/1")))
    assert not await looking
    assert await listing == ["jobs/2"]


async def test_nobody_can_tell_while_a_start_has_no_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader gets an error that passes, and a list leaves the operation out."""
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    ownership = Ownership({"b": "owner"}, store.owners)
    given = start(ALICE)
    await store.journal.begin(given)
    action = OperationAction(Verb.GET, "b", GatewayName("jobs/1"))
    with pytest.raises(StatusError) as caught:
        await ownership.check(EVE, action, *asking("jobs/1"))
    assert (caught.value.code, caught.value.reason) == (Code.UNAVAILABLE, "OWNER_UNDECIDED")
    assert await lists(ownership, EVE, operation("jobs/1")) == []
    await store.journal.withdraw(given)
    assert await sees(ownership, EVE)


@pytest.mark.parametrize(("age", "is_suspect"), [(0, True), (120, False)])
async def test_an_operation_of_a_lost_start_is_not_for_strangers(
    store: Store, age: int, is_suspect: bool
) -> None:
    """If its metadata has the time, and a start was lost then that somebody else had sent."""
    ownership = Ownership({"b": "owner"}, store.owners)
    given = start(ALICE)
    await store.journal.begin(given)
    lost = status_error(Code.DEADLINE_EXCEEDED, "no answer", "DEADLINE")
    await store.journal.settle(given, Knowledge.unknown(lost))
    backend = Backend(created=given.started - dt.timedelta(seconds=age))
    found = operation("jobs/1", backend.created)
    assert await sees(ownership, ALICE, backend=backend)
    assert await sees(ownership, EVE, backend=backend) is not is_suspect
    assert await lists(ownership, EVE, found) == ([] if is_suspect else ["jobs/1"])
    # Without a time, the rules alone decide.
    assert await sees(ownership, EVE, "jobs/2")


async def test_another_name_of_an_operation_reveals_nothing(store: Store) -> None:
    """The backend's answer tells which operation it is."""
    ownership = Ownership({"b": "owner"}, store.owners)
    await begun(store.journal, "jobs/1", ALICE)
    backend = Backend(answers={"projects/7/jobs/1": "jobs/1"})
    for caller, exists in [(ALICE, True), (EVE, False), (ALICE, True), (EVE, False)]:
        assert await sees(ownership, caller, "projects/7/jobs/1", backend) is exists


async def test_without_its_store_nothing_is_shown_that_is_not_known(store: Store) -> None:
    """Backends with the visibility "all" go on."""
    await begun(store.journal, "jobs/1", ALICE)
    owners = Counting(store.owners)
    ownership = Ownership({"b": "owner", "c": "all"}, owners)
    assert await sees(ownership, ALICE)
    owners.is_down = True
    assert await sees(ownership, ALICE)
    for caller, name in [(EVE, "jobs/1"), (ALICE, "jobs/2")]:
        for each in (ownership, Ownership({"b": "owner"}, None)):
            action = OperationAction(Verb.GET, "b", GatewayName(name))
            with pytest.raises(StatusError) as caught:
                await each.check(caller, action, *asking("jobs/1"))
            assert caught.value.reason == "STORE_UNAVAILABLE"
            with pytest.raises(StatusError):
                await each.shown(caller, "b", [operation(name)])
    elsewhere = OperationAction(Verb.GET, "c", GatewayName("jobs/1"))
    await ownership.check(EVE, elsewhere, *asking("jobs/1"))
    page: Any = [operation("jobs/1")]
    assert await ownership.shown(EVE, "c", page) is page


@pytest.mark.parametrize("is_listed", [False, True])
async def test_what_was_not_started_here_is_shown_while_the_store_is_away(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, is_listed: bool
) -> None:
    """Nothing can be started then. Afterwards the store is asked as before."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    owners = Counting(store.owners)
    ownership = Ownership({"b": "owner"}, owners)

    async def shown(name: str) -> bool:
        if is_listed:
            return await lists(ownership, EVE, operation(name)) == [name]
        return await sees(ownership, EVE, name)

    assert await shown("jobs/1")
    owners.is_down, asked = True, owners.asked
    clock.now += 31
    assert [await shown("jobs/1") for _ in range(5)] == [True] * 5
    # One read has asked the store, and the others know that it is away.
    assert owners.asked == asked + 1
    with pytest.raises(StatusError):
        await shown("jobs/2")
    clock.now += 1000
    assert await shown("jobs/1")
    owners.is_down = False
    await begun(store.journal, "jobs/1", ALICE)
    clock.now += 31
    assert not await shown("jobs/1")


async def test_what_was_long_ago_not_started_here_is_not_shown_without_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have started it while the store still answered."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    owners = Counting(store.owners)
    ownership = Ownership({"b": "owner"}, owners)
    assert await sees(ownership, EVE, "jobs/1")
    clock.now += 31
    assert await sees(ownership, EVE, "jobs/2")
    owners.is_down = True
    with pytest.raises(StatusError):
        await sees(ownership, EVE, "jobs/1")


def test_an_explanation_says_that_ownership_decides_too() -> None:
    """For every operation of the backend in the same words."""
    ownership = Ownership({"b": "tenant", "c": "all"}, None)
    allowed = Explanation(allowed=True, rule="policy[0]", steps=(Step("policy[0]", "it matches"),))
    step = Step(
        "visibility",
        "an operation that was started through the gateway exists only for the tenant of who"
        " started it",
    )
    name = GatewayName("jobs/1")
    for action in (OperationAction(Verb.GET, "b", name), ListAction("b", name)):
        assert ownership.explain(action, allowed).steps == (*allowed.steps, step)
    assert ownership.explain(OperationAction(Verb.GET, "c", name), allowed) is allowed
    refused = Explanation(allowed=False)
    assert ownership.explain(OperationAction(Verb.GET, "b", name), refused) is refused
