"""Tests that the official conformance suite of MCP passes against the command `serve`.

The tools that the suite calls are RPCs of a backend. `expected-failures.*.yml` and `TASKS` list
what cannot pass, with the reason for each. A listed scenario or check that passes fails the test.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.conformance.backend import backend
from tests.conformance.suite import HERE, run_suite
from tests.conformance.task_scenarios import TASKS
from tests.processes import served

pytestmark = pytest.mark.anyio

_FAILED: Final = re.compile(r"^  - (\w+): ", re.MULTILINE)


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Run `serve` with a key; yields its URL."""
    directory = tmp_path_factory.mktemp("gateway")
    tables = {"server": {"keys": [str(_key_in(directory))]}}
    async with backend() as entry, served(directory, entry, tables=tables) as server:
        yield server.url


def _key_in(directory: Path) -> Path:
    key = directory / "gateway.key"
    key.write_text(base64.b64encode(bytes(range(32))).decode())
    key.chmod(0o600)
    return key


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
async def test_serve_conforms_to_a_revision(url: str, revision: str) -> None:
    """Every scenario that the revision requires passes, except those that the baseline lists."""
    baseline = HERE / f"expected-failures.{revision}.yml"
    status, output = await run_suite(
        url, "--requirements", revision, "--expected-failures", str(baseline)
    )
    assert status == 0, output


@pytest.mark.parametrize("scenario", TASKS)
async def test_serve_conforms_to_the_tasks_extension(url: str, scenario: str) -> None:
    """Every check passes, except those that `TASKS` lists. There is no warning."""
    status, output = await run_suite(url, "--scenario", scenario)
    assert {*_FAILED.findall(output)} == {*TASKS[scenario]}, output
    assert f"{len(TASKS[scenario])} failed, 0 warnings" in output, output
    assert status == bool(TASKS[scenario])


async def test_serve_validates_the_headers_of_requests(url: str) -> None:
    """No revision requires this scenario, but all of its checks pass."""
    scenario = ("--scenario", "http-header-validation", "--spec-version", "2026-07-28")
    status, output = await run_suite(url, *scenario)
    assert status == 0, output
    assert "Passed: 14/14, 0 failed, 0 warnings" in output, output


def test_the_version_of_the_suite_is_fixed() -> None:
    """package.json names an exact version, so that the suite always runs the same checks."""
    versions = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert all(version[0].isdigit() for version in versions.values())
