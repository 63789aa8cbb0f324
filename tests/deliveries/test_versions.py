"""Replicas of two versions at once, as during a rolling upgrade."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lro_gateway.deliveries.happenings import DONE, STARTED
from lro_gateway.records.location import Location
from tests.deliveries.receiver import answering, receiving
from tests.deliveries.stages import Demo, body_of, staged
from tests.postgresql import PostgreSql


async def test_each_version_goes_on_with_what_it_understands(
    tmp_path: Path, demo: Demo, server: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer replica takes over from an older one. An older one leaves what is newer."""
    backend, gate = demo
    location = Location.parse(server.create_database())

    def newer(is_newer: bool) -> None:
        monkeypatch.setattr("lro_gateway.records.opening.WORK", 2 if is_newer else 1)

    kinds = (STARTED, DONE)
    async with receiving(answering(503)) as receiver:
        newer(False)
        async with staged(location, backend, tmp_path) as old:
            first = await old.start("first")
            hook = await old.hook(receiver, backend="demo", name=first, kinds=kinds)
            await receiver.after(1)
            newer(True)
            async with staged(location, backend, tmp_path) as new:
                second = await new.start("second")
                made = await new.hook(receiver, backend="demo", name=second, kinds=kinds)
                await receiver.after(2)
            # The newer one has handed over, and nobody of its version runs.
            await old.deliveries.sharing.take_over()
            assert len(old.deliveries.trackers) == 1
        receiver.behavior = answering(200)
        before = len(receiver.received)
        async with staged(location, backend, tmp_path) as new:
            while len(new.deliveries.trackers) < 2:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
            gate.release()
            received = (await receiver.after(before + 4))[before:]
            told = sorted(
                (body["name"], body["data"]["operation"])
                for each in received
                for body in [body_of(each, hook if first in each.body.decode() else made)]
            )
            assert told == sorted((kind, name) for kind in kinds for name in (first, second))
