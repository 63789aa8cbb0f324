"""Starts with idempotency keys, over REST, against a backend that counts what it has begun."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import sqlalchemy as sa

from lro_gateway.principal import Principal
from lro_gateway.records.connecting import connect_to_postgresql
from lro_gateway.records.location import NOWHERE, Location
from tests.access.guarded import ALICE, BOB, Recording, guarded, rest
from tests.contrary import refusing
from tests.counting import Counting

KEY = "idempotency-key"
REPLAYED = "idempotency-replayed"
REFUSING = refusing(grpc.StatusCode.INVALID_ARGUMENT, "no such line")
LOSING = refusing(grpc.StatusCode.INTERNAL, "the connection broke")
BUILD = ("POST", "/v1/lines/1/machines")
UPDATE = ("PATCH", "/v1/lines/1/machines/2")


@dataclass
class Stage:
    """A backend, and a gateway in front of it."""

    backend: Counting
    url: str

    async def start(
        self,
        key: str | bytes | None,
        title: str = "Press",
        *,
        caller: Principal = ALICE,
        at: tuple[str, str] = BUILD,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Start an operation with a key."""
        keys: Any = {} if key is None else {KEY: key}
        async with rest(self.url, caller) as client:
            return await client.request(
                *at, params=query or {}, json={"title": title}, headers={**keys, **(headers or {})}
            )


@asynccontextmanager
async def staged(
    location: Location,
    running: Counting | None = None,
    policy: Recording | None = None,
    wait: str = "50s",
    **settings: Any,
) -> AsyncIterator[Stage]:
    """Serve a gateway with a store to a new backend, or to one that runs."""
    async with AsyncExitStack() as stack:
        opening = nullcontext(running) if running is not None else Counting().open()
        backend = await stack.enter_async_context(opening)
        served = {"name": "b", "target": backend.target, "methods": ["*/*"], **settings}
        server = {"port": 0, "sync_grace": "0s", "default_wait": wait}
        opened = guarded(policy or Recording(), served, store={"url": location}, server=server)
        url = await stack.enter_async_context(opened)
        yield Stage(backend, url)


@pytest.fixture
def file(tmp_path: Path) -> Location:
    """Return the location of a file of SQLite that does not exist yet."""
    return Location(tmp_path / "store.sqlite3")


def reason(response: httpx.Response) -> str:
    """Return the reason of an error."""
    return str(response.json()["error"]["details"][0]["reason"])


def name(response: httpx.Response) -> str:
    """Return the name of the operation in an answer."""
    assert response.is_success, response.text
    return str(response.json()["name"])


def execute(location: Location, statement: str) -> None:
    """Execute a statement in a store."""
    if location.file is not None:
        engine = sa.create_engine(f"sqlite:///{location.file}")
    else:
        connect = connect_to_postgresql(location.dsn)
        engine = sa.create_engine("postgresql+psycopg://", creator=connect)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


async def test_a_repeat_gets_the_same_operation_also_after_a_restart(location: Location) -> None:
    """The answer says that it is a repeat, and has the request_id of the first call."""
    async with Counting().open() as backend:
        async with staged(location, backend) as stage:
            first, second = await stage.start("k-1"), await stage.start("k-1")
            assert name(first) == name(second)
            assert REPLAYED not in first.headers
            assert second.headers[REPLAYED] == "true"
            filled = "lro-gateway-request-id"
            assert first.headers[filled] == second.headers[filled]
        async with staged(location, backend) as stage:
            assert name(await stage.start('"k-1"')) == name(first)
            assert name(await stage.start("k-2")) != name(first)
            assert name(await stage.start(None)) != name(await stage.start(None))
        assert backend.begun["Press"] == 4


async def test_fifty_starts_at_once_over_two_replicas_are_one_call(location: Location) -> None:
    """On SQLite there is one gateway. All callers get the operation of the one call."""
    async with Counting().open() as backend, AsyncExitStack() as stack:
        replicas = 1 if location.file is not None else 2
        stages = [
            await stack.enter_async_context(staged(location, backend)) for _ in range(replicas)
        ]
        backend.gate.clear()
        starts = [
            asyncio.create_task(stages[at % replicas].start("k", at=UPDATE)) for at in range(50)
        ]
        await backend.called.wait()
        backend.gate.set()
        answers = await asyncio.gather(*starts)
    assert len({name(each) for each in answers}) == 1
    assert sum(REPLAYED not in each.headers for each in answers) == 1
    assert backend.calls["Press"] == 1


async def test_a_key_belongs_to_its_owner(file: Location) -> None:
    """Another caller with the same key starts an operation of its own."""
    async with staged(file) as stage:
        assert name(await stage.start("k")) != name(await stage.start("k", caller=BOB))
        assert stage.backend.begun["Press"] == 2


async def test_a_key_stands_for_one_request(file: Location) -> None:
    """The draft of the header has 422 for another content, and another method is one too."""
    async with staged(file) as stage:
        await stage.start("k")
        for refused in (await stage.start("k", "Lathe"), await stage.start("k", at=UPDATE)):
            assert (refused.status_code, reason(refused)) == (422, "IDEMPOTENCY_KEY_REUSED")
            assert refused.json()["error"]["status"] == "INVALID_ARGUMENT"
            assert "factory.v1.Factory/BuildMachine on backend 'b'" in refused.text
        assert stage.backend.begun == {"Press": 1}


async def test_a_library_that_chooses_another_request_id_repeats_the_same_request(
    file: Location,
) -> None:
    """Google's clients put a new UUID into each call (AIP-4235), and the key outranks it."""
    async with staged(file) as stage:
        ids = [{"requestId": f"3b1f0f9e-6a5b-4c1e-8d57-00000000000{at}"} for at in (1, 2)]
        first, second = [await stage.start("k", query=each) for each in ids]
        assert name(first) == name(second)
        assert stage.backend.calls["Press"] == 1


async def test_a_refused_start_frees_its_key(file: Location) -> None:
    """The caller mends the request, or tries the same again."""
    async with staged(file) as stage:
        stage.backend.instead = REFUSING
        assert (await stage.start("k")).status_code == 400
        assert (await stage.start("k")).status_code == 400
        assert stage.backend.calls["Press"] == 2
        stage.backend.instead = None
        mended = await stage.start("k", "Lathe")
        assert name(mended) == name(await stage.start("k", "Lathe"))
        assert stage.backend.begun == {"Lathe": 1}


async def test_a_start_without_an_answer_is_repeated_with_its_request_id(file: Location) -> None:
    """The backend recognizes it, and the repeat gets the operation of the first call."""
    async with staged(file) as stage:
        stage.backend.lost = LOSING
        lost = await stage.start("k", query={"requestId": "first"})
        assert lost.status_code == 500
        assert "with the same idempotency key, which starts no second operation" in lost.text
        stage.backend.lost = None
        found = await stage.start("k", query={"requestId": "second"})
        assert name(found) == "lines/1/operations/1"
        assert stage.backend.begun == {"Press": 1}
        assert name(await stage.start("k")) == name(found)
        async with rest(stage.url) as client:
            (entry,) = (await client.get("/v1/operations:mine")).json()["operations"]
        assert (entry["name"], entry["state"]) == (name(found), "running")


async def test_a_start_whose_outcome_nobody_knows_is_not_repeated(file: Location) -> None:
    """The error says how to find out, and a new key starts another."""
    async with staged(file) as stage:
        stage.backend.lost = LOSING
        lost = await stage.start("k", at=UPDATE)
        assert "with a new key only if the operation is not there" in lost.text
        stage.backend.lost = None
        repeat = await stage.start("k", at=UPDATE)
        assert (repeat.status_code, reason(repeat)) == (500, "START_OUTCOME_UNKNOWN")
        assert "list the operations of backend 'b' since then" in repeat.text
        assert stage.backend.begun == {"Press": 1}
        assert (await stage.start("new", at=UPDATE)).is_success


async def test_a_repeat_waits_for_the_first_call_only_up_to_its_deadline(
    location: Location,
) -> None:
    """The error says to repeat with the same key, and the first call goes on."""
    async with staged(location, wait="0.1s") as stage:
        stage.backend.gate.clear()
        first = asyncio.create_task(stage.start("k"))
        await stage.backend.called.wait()
        second = await stage.start("k")
        assert (second.status_code, reason(second)) == (409, "IDEMPOTENCY_KEY_IN_USE")
        stage.backend.gate.set()
        assert (await first).is_success


async def test_a_repeat_gets_the_operation_whose_first_caller_has_left(location: Location) -> None:
    """The call of the first caller goes on in the background, and the second waits for it."""
    async with staged(location) as stage:
        stage.backend.gate.clear()
        first = asyncio.create_task(stage.start("k"))
        await stage.backend.called.wait()
        first.cancel()
        second = asyncio.create_task(stage.start("k"))
        await asyncio.wait({first})
        stage.backend.gate.set()
        assert (await second).headers[REPLAYED] == "true"
        assert stage.backend.calls["Press"] == 1


async def test_a_process_that_was_killed_leaves_an_unknown_start(location: Location) -> None:
    """Its row has no answer. After the time that the call may take, a repeat finds out."""
    async with staged(location) as stage:
        started = await stage.start("k")
        execute(location, "UPDATE operations SET state = 'starting', name = NULL")
        execute(location, "UPDATE operations SET answer_by = '2026-01-01 00:00:00.000000'")
        assert name(await stage.start("k")) == name(started)
        assert stage.backend.calls["Press"] == 2
        assert stage.backend.begun["Press"] == 1


async def test_an_operation_that_is_gone_is_not_started_again(file: Location) -> None:
    """Its key keeps its meaning until the window ends."""
    async with staged(file) as stage:
        path = f"/v1/{name(await stage.start('k'))}"
        async with rest(stage.url) as client:
            assert (await client.delete(path)).is_success
            await client.get("/v1/operations:mine")
        execute(file, "DELETE FROM operations")
        repeat = await stage.start("k")
        assert (repeat.status_code, reason(repeat)) == (400, "IDEMPOTENT_OPERATION_GONE")
        execute(file, "UPDATE idempotency_keys SET expires = '2026-01-01 00:00:00.000000'")
        assert (await stage.start("k")).is_success


async def test_a_backend_that_is_down_does_not_hide_what_a_key_has_started(file: Location) -> None:
    """The name is in the store, and with it the caller follows the operation later."""
    async with Counting().open() as backend:
        async with staged(file, backend) as stage:
            first = name(await stage.start("k"))
        backend.operations.clear()
        async with staged(file, backend) as stage:
            assert name(await stage.start("k")) == first


async def test_a_person_is_not_asked_again_about_a_repeat(file: Location) -> None:
    """But about another request with the same key nobody has been asked."""
    async with staged(file, confirm=["*/BuildMachine"]) as stage:
        asked = await stage.start("k")
        assert reason(asked) == "CONFIRMATION_REQUIRED"
        agreed = await stage.start("k", headers={"lro-gateway-confirmed": "true"})
        assert name(await stage.start("k")) == name(agreed)
        assert reason(await stage.start("k", "Lathe")) == "IDEMPOTENCY_KEY_REUSED"
        assert reason(await stage.start("other")) == "CONFIRMATION_REQUIRED"
        assert stage.backend.calls == {"Press": 1}


@pytest.mark.parametrize(
    "key", ["", '""', '"open', '"a"b"', "k" * 256, "tab\tulator", "k\u00e4se".encode("latin-1")]
)
async def test_a_malformed_key_is_refused(file: Location, key: Any) -> None:
    """The backend gets no call."""
    async with staged(file) as stage:
        refused = await stage.start(key)
        assert (refused.status_code, reason(refused)) == (400, "IDEMPOTENCY_KEY_MALFORMED")
        assert stage.backend.calls == {}


async def test_a_character_that_no_key_may_have_is_named_also_in_quotes(file: Location) -> None:
    """Not the quotes, which are right."""
    async with staged(file) as stage:
        for key in ("k\u00e4se".encode("latin-1"), b"k\tse"):
            for sent in (key, b'"' + key + b'"'):
                error = (await stage.start(sent)).json()["error"]
                assert "a character that is not printable ASCII" in error["message"]


async def test_two_keys_are_refused_and_quotes_may_have_escapes(file: Location) -> None:
    """A String of Structured Fields may have escaped quotes and backslashes."""
    async with staged(file) as stage:
        body = json.dumps({"title": "Press"}).encode()
        async with rest(stage.url) as client:
            both = await client.post(BUILD[1], content=body, headers=[(KEY, "a"), (KEY, "b")])
        assert reason(both) == "IDEMPOTENCY_KEY_MALFORMED"
        assert name(await stage.start(r'"a\"b\\"')) == name(await stage.start('a"b\\'))


async def test_a_key_may_have_parameters_which_mean_nothing(file: Location) -> None:
    """Structured Fields allow them for each item, and the draft knows none."""
    async with staged(file) as stage:
        first = name(await stage.start('"k"'))
        for parameters in (";a", ";a=1", '; a="x;y";b', ";a=?1;b=:YQ==:;c=1.5"):
            again = await stage.start(f'"k"{parameters}')
            assert name(again) == first
        for wrong in ('"k";', '"k";A', '"k" x', '"k";a="'):
            refused = await stage.start(wrong)
            assert reason(refused) == "IDEMPOTENCY_KEY_MALFORMED"


async def test_a_gateway_without_a_store_refuses_a_key(file: Location) -> None:
    """A key that were ignored would let the caller believe that a repeat is safe."""
    del file
    async with staged(NOWHERE) as stage:
        refused = await stage.start("k")
        assert (refused.status_code, reason(refused)) == (400, "NO_STORE")
        assert stage.backend.calls == {}


async def test_a_plain_method_that_changes_something_takes_no_key(file: Location) -> None:
    """A method that only reads has no further effect anyway."""
    hints = {"*/GetMachine": {"read_only": False}}
    async with staged(file, hints=hints) as stage, rest(stage.url) as client:
        refused = await client.get("/v1/lines/1/machines/2", headers={KEY: "k"})
        assert reason(refused) == "IDEMPOTENCY_KEY_UNSUPPORTED"
    async with staged(file) as stage, rest(stage.url) as client:
        answer = await client.get("/v1/lines/1/machines/2", headers={KEY: "k"})
        assert answer.json()["title"] == "Press"


async def test_a_caller_that_may_start_but_not_read_gets_the_name(file: Location) -> None:
    """The repeat must not show more than the policy allows."""
    policy = Recording(refuses=lambda _caller, action: action.verb.value == "get")
    async with staged(file, policy=policy) as stage:
        first, second = await stage.start("k"), await stage.start("k")
        assert name(first) == name(second)
        assert second.json()["done"] is False
