"""`--format value(...)`: paths into an operation."""

from __future__ import annotations

import pytest

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.commands.terminal.formats import checked_format, formatted, unknown_paths

OPERATION = {
    "name": "a",
    "done": False,
    "metadata": {"steps": [{"name": "x\ty\nz"}], "count": "5", "nothing": None},
}


@pytest.mark.parametrize(
    ("paths", "line"),
    [
        ("name", "a"),
        ("name, done", "a\tfalse"),
        ("metadata.steps[0].name", r"x\ty\nz"),
        ("metadata.steps[3].name,metadata.count", "\t5"),
        ("metadata.nothing,none,name.none", "\t\t"),
        ("metadata.steps[]", '[{"name": "x\\\\ty\\\\nz"}]'),
    ],
)
def test_a_value_is_found_at_its_path(paths: str, line: str) -> None:
    """What is missing is empty, and a value never has a tab or a line break of its own."""
    form = checked_format(f"value({paths})")
    assert formatted(form, OPERATION) == f"{line}\n"
    assert formatted(form, [OPERATION, OPERATION]) == f"{line}\n{line}\n"


@pytest.mark.parametrize("form", ["", "xml", "value", "value()", "JSON", "value(name"])
def test_another_format_is_refused(form: str) -> None:
    """The message shows a format that works."""
    with pytest.raises(CommandError, match=r"value\(name,summary\.percent\)"):
        checked_format(form)


@pytest.mark.parametrize(
    ("path", "where", "fields"),
    [
        ("nope", "the fields", "done, error, metadata, name, response, summary"),
        ("metadata.stps", "the fields of metadata", "count, nothing, steps"),
    ],
)
def test_a_path_that_nothing_has_is_told(path: str, where: str, fields: str) -> None:
    """The error lists the fields that exist there."""
    told = f"nothing has {path!r}, so its values are empty; {where} are {fields}"
    assert unknown_paths(f"value(name,{path})", OPERATION) == [told]


def test_a_path_that_only_some_operations_have_is_no_mistake() -> None:
    """An operation that has not failed has no error."""
    form = "value(name,error.message,response.x,summary.percent,metadata.steps[0].name)"
    assert unknown_paths(form, [OPERATION, {"name": "b", "done": True}]) == []
    assert unknown_paths("value(nope)", []) == []
