"""The house stays as small as ARCHITECTURE.md draws it; import-linter holds who may import whom."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "lro_gateway"
MODULES = [
    path.relative_to(PACKAGE)
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_pb2" not in path.name and path.name != "__init__.py"
]
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
MOST_ENTRIES = 20
TESTED_ELSEWHERE = {
    # Both faces have a caller, and the tests of the policy hold that nothing else makes one.
    "mcp/caller": "access/test_policy",
    "rest/caller": "access/test_policy",
    # The lines of a check are tested as the command prints them.
    "commands/check_words": "commands/test_check",
    # A mistake is the same whether a value, a model or the file has it.
    "config/models": "config/test_loading",
    "config/values": "config/test_loading",
    # Followers and handlers serve both subscriptions and sessions.
    "mcp/live/followers": "mcp/live/test_subscriptions",
    "mcp/live/handlers": "mcp/live/test_subscriptions",
    # A component shows in the document that refers to it.
    "rest/openapi/components": "rest/openapi/test_method_paths",
    # A next step is told with the failure that it is for.
    "rest/next_steps": "backends/test_status",
    # Four lines that only a server can call.
    "rest/disconnection": "serving/test_http",
    # Tasks are one thing on two wires, so the files of the two wires and of approvals test them.
    "mcp/tasks/finished": "mcp/tasks/test_extension",
    "mcp/tasks/handlers": "mcp/tasks/test_extension",
    "mcp/tasks/ids": "mcp/tasks/test_extension",
    "mcp/tasks/operations": "mcp/tasks/test_core",
    "mcp/tasks/tasks": "mcp/tasks/test_extension",
    "mcp/wire": "mcp/tasks/test_extension",
    # These take part in every call of a tool.
    "mcp/failures": "mcp/tools/test_verb_tools",
    "mcp/answers": "mcp/tools/test_verb_tools",
    "mcp/next_steps": "mcp/tools/test_verb_tools",
    "mcp/server": "mcp/tools/test_verb_tools",
    "mcp/tools/elicitation": "faces/test_confirmation",
    "mcp/tools/request_state": "faces/test_confirmation",
    "mcp/tools/toolbox": "mcp/tools/test_method_tools",
}
"""Modules without a test file of their name, and the file that tests each of them."""


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_file_and_its_functions_are_short(module: Path) -> None:
    """A file holds one idea, and a function fits on a screen."""
    source = (PACKAGE / module).read_text()
    functions = {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert source.count("\n") <= LONGEST_FILE
    assert {name: lines for name, lines in functions.items() if lines > LONGEST_FUNCTION} == {}


def test_the_top_level_is_read_at_a_glance() -> None:
    """Each entry is one idea."""
    entries = [path for path in PACKAGE.iterdir() if not path.name.startswith("_")]
    assert len(entries) <= MOST_ENTRIES


def test_a_test_makes_no_event_loop_of_its_own() -> None:
    """The end of its gRPC calls could reach another test, after the loop is closed."""
    with pytest.raises(RuntimeError, match="on the loop of the whole run"):
        asyncio.Runner().get_loop()


def test_each_module_has_a_test_file_of_its_name() -> None:
    """So that a reader finds the tests of a module, and the module of a test."""
    untested = [
        module.with_suffix("").as_posix()
        for module in MODULES
        if not (TESTS / module.parent / f"test_{module.name}").exists()
    ]
    assert [module for module in untested if module not in TESTED_ELSEWHERE] == []


@pytest.mark.parametrize("test", sorted(set(TESTED_ELSEWHERE.values())))
def test_a_file_that_tests_modules_of_other_names_exists(test: str) -> None:
    """The list of exceptions is true."""
    assert (TESTS / f"{test}.py").exists()
