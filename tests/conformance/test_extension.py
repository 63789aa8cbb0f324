"""Tests that an extension passes the scenarios that `serve` cannot pass.

The extension adds the tools that no RPC can provide. The other tools are RPCs of a backend.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import pytest

from lro_gateway.mcp.extension_point import Extension
from lro_gateway.service.service import OperationService
from tests.conformance.backend import backend
from tests.conformance.diagnostics import diagnostics
from tests.conformance.fixtures import fixtures
from tests.conformance.suite import run_suite
from tests.conformance.task_scenarios import TASKS
from tests.gateways import serving

pytestmark = pytest.mark.anyio

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


@pytest.fixture(scope="module")
async def url() -> AsyncIterator[str]:
    """Serve a gateway with the tools of the extension; yields its URL."""
    async with backend() as entry, serving(entry, extend=_extend) as served:
        yield served


def _extend(service: OperationService) -> Extension:
    extension = fixtures(service)
    return replace(extension, tools=(*extension.tools, *diagnostics()))


@pytest.mark.parametrize(("scenario", "revision"), EXTENDED)
async def test_an_extension_conforms(url: str, scenario: str, revision: str) -> None:
    """Every check passes, without a warning."""
    version = ("--spec-version", revision) if revision else ()
    status, output = await run_suite(url, "--scenario", scenario, *version)
    assert status == 0, output
    assert ", 0 failed, 0 warnings" in output, output


async def test_an_extension_conforms_to_the_stateless_protocol(url: str) -> None:
    """All 28 checks pass. The warning is about a tool that changes the list of tools."""
    scenario = ("--scenario", "server-stateless", "--spec-version", "2026-07-28")
    status, output = await run_suite(url, *scenario)
    assert status == 0, output
    assert "Passed: 28/28, 0 failed, 1 warnings" in output, output
