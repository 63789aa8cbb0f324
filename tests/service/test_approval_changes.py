"""Waits for the change of a state, which this process or another one makes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import pytest

from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import Code, status_error
from lro_gateway.records.approval import ApprovalState
from lro_gateway.service.approval_changes import ApprovalChanges

PENDING = ApprovalState.PENDING


class Records:
    """The states of calls, of which the first read fails."""

    def __init__(self) -> None:
        self.found: dict[str, ApprovalState] = {}
        self.reads = 0

    async def states(self, ids: Collection[str]) -> Mapping[str, ApprovalState]:
        """Return the states of calls."""
        self.reads += 1
        if self.reads == 1:
            raise status_error(Code.UNAVAILABLE, "down", "STORE_UNAVAILABLE")
        return {each: self.found[each] for each in ids}


async def test_all_waits_share_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is down for a moment ends no wait, and nothing is read when nobody waits."""
    monkeypatch.setattr("lro_gateway.service.approval_changes._INTERVAL", 0.0)
    records: Any = Records()
    records.found = {"1": PENDING, "2": PENDING}
    async with BackgroundTasks(timedelta(0)) as tasks:
        changes = ApprovalChanges(records, tasks)
        waits = [asyncio.create_task(changes.wait(each, PENDING)) for each in "112"]
        changes.announce("1")
        await asyncio.sleep(0)
        changes.announce("1")
        await asyncio.gather(*waits[:2])
        assert not waits[2].done()
        records.found["2"] = ApprovalState.REFUSED
        await waits[2]
        read = records.reads
        await asyncio.sleep(0)
        assert records.reads == read
