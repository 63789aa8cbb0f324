"""Tokens are fetched once for all, renewed in time, and used for as long as they are valid."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from lro_gateway.backends.credentials.failures import CredentialsError
from lro_gateway.backends.credentials.token_cache import Token, TokenCache
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import Code, StatusError


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Issues numbered tokens with a life of 100 s. While `problem` is set, it raises it."""

    def __init__(self) -> None:
        self.fetched = 0
        self.problem: CredentialsError | None = None
        self.has_ended = asyncio.Event()

    async def fetch(self) -> Token:
        self.fetched += 1
        self.has_ended.clear()
        await asyncio.sleep(0)
        # The cache has the outcome when the loop runs the tasks that wait for this.
        asyncio.get_running_loop().call_soon(self.has_ended.set)
        if self.problem is not None:
            raise self.problem
        return Token.lasting(f"token-{self.fetched}", 100)


@pytest.fixture
async def tasks() -> AsyncIterator[BackgroundTasks]:
    """Yield the owner of the fetches."""
    async with BackgroundTasks(timedelta(0)) as owner:
        yield owner


async def test_all_callers_share_one_fetch(tasks: BackgroundTasks) -> None:
    """A thousand callers at the same time cause one request, and later ones none."""
    source = Source()
    cache = TokenCache("b", source, tasks, Clock())
    tokens = await asyncio.gather(*(cache.get(5) for _ in range(1000)))
    assert set(tokens) == {"token-1"}
    assert await cache.get(5) == "token-1"
    assert source.fetched == 1


async def test_a_token_is_renewed_before_it_ends_and_no_caller_waits(
    tasks: BackgroundTasks,
) -> None:
    """After four fifths of its life, one caller causes the fetch, and gets the old token."""
    source, clock = Source(), Clock()
    cache = TokenCache("b", source, tasks, clock)
    await cache.get(5)
    clock.now += 79
    await cache.get(5)
    assert source.fetched == 1
    clock.now += 2
    assert await cache.get(5) == "token-1"
    source.has_ended.clear()
    await source.has_ended.wait()
    assert await cache.get(5) == "token-2"
    assert source.fetched == 2


async def test_the_last_token_is_used_until_it_ends(
    tasks: BackgroundTasks, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed renewal is logged, and is no error while the token is valid."""
    source, clock = Source(), Clock()
    cache = TokenCache("b", source, tasks, clock)
    await cache.get(5)
    source.problem = CredentialsError("the endpoint is away", passes=True)
    clock.now += 90
    assert await cache.get(5) == "token-1"
    source.has_ended.clear()
    await source.has_ended.wait()
    kept = "backend b: no new token; the last one remains in use: the endpoint is away"
    assert caplog.messages == [kept]
    clock.now += 20
    with pytest.raises(StatusError) as caught:
        await cache.get(5)
    assert (caught.value.code, caught.value.reason) == (
        Code.UNAVAILABLE,
        "CREDENTIALS_UNAVAILABLE",
    )
    assert caught.value.unsent
    assert "token-1" not in str(caught.value)


async def test_failures_are_repeated_after_pauses_that_grow(
    tasks: BackgroundTasks, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers between two attempts get the last failure at once."""
    caplog.set_level(logging.CRITICAL)
    source, clock = Source(), Clock()
    source.problem = CredentialsError("the client is unknown")
    cache = TokenCache("b", source, tasks, clock)
    attempts = []
    for _ in range(200):
        with pytest.raises(StatusError, match="the client is unknown") as caught:
            await cache.get(5)
        assert caught.value.reason == "CREDENTIALS_REFUSED"
        attempts.append(source.fetched)
        clock.now += 1
    # After 0, 1, 3, 7, 15, 31 and 63 s, and then after every minute.
    assert attempts[-1] == 9
    source.problem = None
    clock.now += 60
    assert await cache.get(5) == "token-10"


async def test_a_caller_waits_no_longer_than_its_deadline(tasks: BackgroundTasks) -> None:
    """The fetch goes on for the callers after it."""

    class Slow(Source):
        def __init__(self) -> None:
            super().__init__()
            self.gate = asyncio.Event()

        async def fetch(self) -> Token:
            await self.gate.wait()
            return await super().fetch()

    source = Slow()
    cache = TokenCache("b", source, tasks, Clock())
    with pytest.raises(StatusError, match="no token has arrived in time"):
        await cache.get(0.01)
    source.gate.set()
    assert await cache.get(5) == "token-1"


async def test_a_refused_token_is_replaced_but_not_again_and_again(
    tasks: BackgroundTasks,
) -> None:
    """A backend that refuses every token must not make every call a fetch."""
    source, clock = Source(), Clock()
    cache = TokenCache("b", source, tasks, clock)
    await cache.get(5)
    assert cache.drop()
    assert await cache.get(5) == "token-2"
    assert not cache.drop()
    assert await cache.get(5) == "token-2"
    clock.now += 6
    assert cache.drop()


def test_a_token_does_not_show_itself() -> None:
    """A traceback or a log may have its repr."""
    assert "sesame" not in repr(Token.lasting("sesame", 60))
