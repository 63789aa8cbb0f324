"""Tests of the progress notifications that a client gets while its call waits."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client

from tests.steps import Steps

ERAS = ("2026-07-28", "legacy")


@pytest.mark.parametrize("era", ERAS)
async def test_a_wait_reports_every_change(steps_url: str, steps: Steps, era: Any) -> None:
    """A report has the percentage and a text, and its value never decreases."""
    reports: list[tuple[float, float | None, str | None]] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))
        # Each report advances the operation. Once, its percentage falls from 30 to 10.
        steps.percent = {0: 30, 30: 10, 10: 60, 60: 100, 100: 100}[steps.percent]

    async with Client(f"{steps_url}/mcp", mode=era) as client:
        result = await client.call_tool(
            "wait_operation", {"name": "jobs/1"}, progress_callback=report
        )
    assert result.structured_content is not None
    assert result.structured_content["done"]
    assert [(round(value), total, text) for value, total, text in reports] == [
        (0, 100, "Running, 0% done."),
        (30, 100, "Running, 30% done."),
        (30, 100, "Running, 30% done."),
        (60, 100, "Running, 60% done."),
        (100, 100, "Done: it succeeded, without a result."),
    ]
    values = [value for value, *_ in reports]
    assert values == sorted(set(values))


@pytest.mark.parametrize("era", ERAS)
async def test_a_wait_without_changes_reports_that_it_continues(
    steps_url: str, steps: Steps, era: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same report is repeated, because a client times out if it gets nothing."""
    monkeypatch.setattr("lro_gateway.service.waiting.PROGRESS_INTERVAL", 0.05)
    reports: list[str | None] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        assert total == 100
        reports.append(message if progress < 1 else None)
        if len(reports) == 4:
            steps.percent = 100

    async with Client(f"{steps_url}/mcp", mode=era) as client:
        await client.call_tool("wait_operation", {"name": "jobs/1"}, progress_callback=report)
    assert reports[:4] == ["Running, 0% done."] * 4
