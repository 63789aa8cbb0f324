"""`--format value(...)`: paths into an operation."""

from __future__ import annotations

import json

import pytest

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.commands.terminal.formats import (
    checked_format,
    for_terminal,
    formatted,
    unknown_paths,
)

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


@pytest.mark.parametrize("form", ["json", "yaml", "value(a,b)"])
def test_a_terminal_gets_no_character_that_shows_nothing(form: str) -> None:
    """In a pipe a value is what the service sent. The escapes of JSON are the same JSON."""
    value = {"a": "x\x1b]0;t\x07\x9b\u202e\u2028\U000e0041\x7f", "b": "é宽"}
    text = formatted(form, value)
    shown = for_terminal(form, text)
    assert "é宽" in shown
    assert all(each.isprintable() or each in "\t\n" for each in shown), ascii(shown)
    assert shown.count("\n") == text.count("\n")
    if form == "json":
        assert json.loads(shown) == value


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
