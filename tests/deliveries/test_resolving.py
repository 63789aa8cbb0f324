"""Names of receivers, and the names whose servers do not answer."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from lro_gateway.deliveries.resolving import Resolver

MOST = 64


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let no name that begins with `slow` be resolved until this event."""
    answers, resolve = threading.Event(), socket.getaddrinfo

    def slowly(host: str, port: int, **options: Any) -> Any:
        if host.startswith("slow"):
            answers.wait(300)
        return resolve("127.0.0.1", port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    return answers


async def test_names_that_are_not_resolved_yet_delay_no_other(answers: threading.Event) -> None:
    """A caller may name receivers whose DNS servers never answer."""
    resolver = Resolver()
    slow = [
        asyncio.ensure_future(resolver.addresses(f"slow{number}.example", 443))
        for number in range(MOST - 1)
    ]
    try:
        async with asyncio.timeout(60):
            assert await resolver.addresses("hooks.example", 443) == ["127.0.0.1"]
        assert not any(each.done() for each in slow)
    finally:
        answers.set()
    assert await asyncio.gather(*slow) == [["127.0.0.1"]] * len(slow)


async def test_a_name_keeps_its_place_until_it_is_resolved(answers: threading.Event) -> None:
    """Otherwise attempts that give up would leave ever more threads."""
    resolver = Resolver()
    slow = [asyncio.ensure_future(resolver.addresses("slow.example", 443)) for _ in range(MOST)]
    await asyncio.sleep(0)
    for each in slow:
        each.cancel()
    await asyncio.wait(slow)
    waiting = asyncio.ensure_future(resolver.addresses("hooks.example", 443))
    await asyncio.sleep(0)
    assert not waiting.done()
    answers.set()
    assert await waiting == ["127.0.0.1"]
