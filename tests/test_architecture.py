"""The house stays as small as ARCHITECTURE.md draws it; import-linter holds who may import whom."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lro_gateway"
MODULES = [
    path.relative_to(PACKAGE)
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_pb2" not in path.name and path.name != "__init__.py"
]
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
MOST_ENTRIES = 20


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
