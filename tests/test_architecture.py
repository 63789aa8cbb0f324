"""The house stands as ARCHITECTURE.md draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lro_gateway"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_pb2" not in path.name
}
LAYERS = (
    ("background", "errors", "principal", "sealing", "telemetry"),
    ("descriptors",),
    ("operations",),
    ("backends",),
    ("service",),
    ("mcp", "rest"),
    ("config", "gateway"),
    ("serving",),
    ("commands",),
)
"""From the lowest to the highest; the lower never import the higher."""
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
FOREIGN = {
    "grpc": ("backends", "descriptors.sources", "demo", "commands.demo"),
    "mcp": ("mcp",),
    "fastapi": ("rest", "serving"),
}
"""Where a library may be imported."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every module that is imported, and of every name taken from one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a thing is from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(module: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    found = set()
    for name in imports(ast.parse(MODULES[module].read_text())):
        owner = name
        while owner.startswith("lro_gateway.") and owner not in MODULES:
            owner = owner.rpartition(".")[0]
        if owner in MODULES and owner not in {"lro_gateway", module}:
            found.add(owner)
    return found


def room(module: str) -> str:
    """Return the room of the house that a module is in."""
    return module.removeprefix("lro_gateway.").partition(".")[0]


INSIDE = [name for name in MODULES if name != "lro_gateway" and room(name) != "demo"]


@pytest.mark.parametrize("module", INSIDE)
def test_every_module_imports_only_its_own_layer_and_those_below(module: str) -> None:
    """Words <- descriptors <- operation <- backends <- service <- faces <- assembly."""
    level = LEVEL[room(module)]
    upward = {
        name for name in own_imports(module) if room(name) != "demo" and LEVEL[room(name)] > level
    }
    assert upward == set()


@pytest.mark.parametrize("module", [name for name in INSIDE if room(name) in {"mcp", "rest"}])
def test_faces_never_import_each_other(module: str) -> None:
    """A face translates one protocol; what two need belongs below."""
    other = {"mcp": "rest", "rest": "mcp"}[room(module)]
    assert {name for name in own_imports(module) if room(name) == other} == set()


@pytest.mark.parametrize("module", MODULES)
def test_the_demo_backend_stands_alone(module: str) -> None:
    """It imports nothing of the gateway, and only the command that shows it imports it."""
    rooms = {room(name) for name in own_imports(module)}
    if room(module) == "demo":
        assert rooms <= {"demo"}
    elif module != "lro_gateway.commands.demo":
        assert "demo" not in rooms


@pytest.mark.parametrize("library", FOREIGN)
def test_a_foreign_library_is_imported_only_where_it_belongs(library: str) -> None:
    """One edge has gRPC, another each protocol's SDK."""
    allowed = FOREIGN[library]
    astray = {
        module
        for module, path in MODULES.items()
        for name in imports(ast.parse(path.read_text()))
        if name.partition(".")[0] in {library, f"{library}_types"}
        and not module.removeprefix("lro_gateway.").startswith(allowed)
    }
    assert astray == set()


def test_no_imports_go_in_a_circle() -> None:
    """Modules can be read in an order in which each builds on those before."""
    remaining = {module: own_imports(module) for module in MODULES}
    while free := [module for module, needed in remaining.items() if not needed & remaining.keys()]:
        for module in free:
            del remaining[module]
    assert remaining == {}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_imported_inside_a_function(module: str) -> None:
    """What a module needs stands at its top."""
    functions = [
        node
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [name for function in functions for name in imports(function)] == []
