"""Keys are fetched when they are needed, and the last good ones are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from lro_gateway.access.identity.key_cache import KeyCache
from lro_gateway.access.identity.keys import KeysError
from lro_gateway.background import BackgroundTasks
from tests.access.token_signer import TokenSigner


@dataclass
class Source:
    """The keys of a signer, which may be away. `gate` holds back the answers until it is set."""

    signer: TokenSigner = field(default_factory=lambda: TokenSigner("i", "a"))
    is_away: bool = False
    fetches: int = 0
    begun: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def document(self) -> Any:
        self.fetches += 1
        self.begun.release()
        await self.gate.wait()
        if self.is_away:
            raise KeysError("it is away")
        return self.signer.jwks()


@dataclass
class Case:
    """A cache, its source, its clock, and the number of times that a key was removed."""

    source: Source
    cache: KeyCache
    now: list[float]
    removals: list[int]

    async def kids(self, kid: str = "") -> list[str]:
        """Return the ids of the keys that may have signed a token."""
        return [key.kid for key in await self.cache.find(kid, "ES256")]


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    """Yield a cache that has fetched nothing yet."""
    now, removals, source = [100.0], [0], Source()
    source.gate.set()

    def removed() -> None:
        removals[0] += 1

    async with BackgroundTasks(timedelta(0)) as tasks:
        cache = KeyCache("i", source, timedelta(minutes=5), removed, tasks, lambda: now[0])
        yield Case(source, cache, now, removals)


async def test_the_first_token_fetches_the_keys(case: Case) -> None:
    """A token that names no key may have been signed by each of them."""
    assert await case.kids("key-1") == ["key-1"]
    case.source.signer.rotate()
    await case.cache.refresh()
    assert await case.kids() == ["key-1", "key-2"]
    assert await case.kids("key-2") == ["key-2"]
    assert case.source.fetches == 2
    assert case.removals == [0]


async def test_unknown_keys_cause_one_fetch_in_five_seconds(case: Case) -> None:
    """Anyone can invent a key, and the issuer must not feel it."""
    await case.cache.refresh()
    for number in range(100):
        assert await case.kids(f"invented-{number}") == []
    assert case.source.fetches == 2
    case.source.signer.rotate()
    assert await case.kids("key-2") == []
    case.now[0] += 5.0
    assert await case.kids("key-2") == ["key-2"]
    assert case.source.fetches == 3


async def test_callers_share_one_fetch(case: Case) -> None:
    """A hundred tokens that come at once cause one fetch, which outlives its callers."""
    case.source.gate.clear()
    tasks = [asyncio.create_task(case.kids("key-1")) for _ in range(100)]
    await case.source.begun.acquire()
    tasks[0].cancel()
    case.source.gate.set()
    found = await asyncio.gather(*tasks[1:])
    assert found == [["key-1"]] * 99
    assert case.source.fetches == 1


async def test_the_last_keys_remain_while_the_issuer_is_away(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so."""
    await case.cache.refresh()
    case.source.is_away = True
    await case.cache.refresh()
    assert await case.kids("key-1") == ["key-1"]
    assert case.cache.problem == "it is away"
    assert "cannot be fetched; the last keys remain in use: it is away" in caplog.text
    case.source.is_away = False
    await case.cache.refresh()
    assert case.cache.problem == ""
    assert case.removals == [0]


async def test_without_any_keys_nobody_can_sign_in(case: Case) -> None:
    """The error tells why."""
    case.source.is_away = True
    with pytest.raises(KeysError, match="it is away"):
        await case.kids("key-1")
    case.now[0] += 5.0
    case.source.is_away = False
    assert await case.kids("key-1") == ["key-1"]


async def test_an_issuer_that_hangs_does_not_hold_tokens_of_unknown_keys(case: Case) -> None:
    """The fetch goes on, and the keys that it brings are used. Known keys never wait."""
    async with BackgroundTasks(timedelta(0)) as tasks:
        settings = ("i", case.source, timedelta(minutes=5), lambda: None, tasks)
        cache = KeyCache(*settings, lambda: case.now[0], patience=timedelta(0))
        case.source.gate.clear()
        with pytest.raises(KeysError, match="have not arrived yet"):
            await cache.find("key-1", "ES256")
        case.source.gate.set()
        await cache.refresh()
        case.source.gate.clear()
        case.source.signer.rotate()
        case.now[0] += 5.0
        assert await cache.find("key-2", "ES256") == ()
        assert [each.kid for each in await cache.find("key-1", "ES256")] == ["key-1"]
        case.source.gate.set()
        await cache.refresh()
        assert [each.kid for each in await cache.find("key-2", "ES256")] == ["key-2"]
        assert case.source.fetches == 2


async def test_a_removed_key_is_reported(case: Case) -> None:
    """What this key has signed is no longer valid."""
    await case.cache.refresh()
    case.source.signer.rotate(keep_old=False)
    await case.cache.refresh()
    assert case.removals == [1]
    assert await case.kids("key-1") == []


async def test_keys_are_fetched_again_and_again(case: Case) -> None:
    """The first time is at once."""
    async with BackgroundTasks(timedelta(0)) as tasks:
        cache = KeyCache("i", case.source, timedelta(milliseconds=1), lambda: None, tasks)
        task = tasks.start(cache.keep_current())
        for _ in range(3):
            await case.source.begun.acquire()
        assert not task.done()
    assert len(cache.keys) == 1
