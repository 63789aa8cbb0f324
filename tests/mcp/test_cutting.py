"""Tests of the shape of a long JSON."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.mcp.cutting import named, shape_of

_SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=400)
_KEYS = st.text(max_size=60)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(_KEYS, inner, max_size=8),
    max_leaves=20,
)


def test_short_values_stay_whole_and_long_ones_are_named_as_cut() -> None:
    """A list keeps its first items, and a text its first characters."""
    rows = [{"id": f"row{index}", "text": "x" * 50} for index in range(1000)]
    shape = shape_of({"name": "a/1", "note": "y" * 5000, "rows": rows, "done": True}, 1000)
    assert list(shape.value) == ["name", "note", "rows", "done"]
    assert (shape.value["name"], shape.value["done"]) == ("a/1", True)
    assert shape.value["note"] == f"{'y' * 200}..."
    assert shape.value["rows"] == rows[: len(shape.value["rows"])]
    assert shape.cuts == [
        "note has 5000 characters, of which 200 are shown",
        f"rows has 1000 items, of which {len(shape.value['rows'])} are shown",
    ]
    assert shape.path == "rows.id"


def test_the_name_and_the_error_of_an_operation_stay_whole() -> None:
    """They are needed to go on, even if they are longer than their share of the room."""
    error = {"code": 13, "message": "z" * 900}
    shape = shape_of(
        {"name": "n" * 500, "done": True, "error": error, "metadata": "m" * 9999}, 2000
    )
    assert (shape.value["name"], shape.value["error"]) == ("n" * 500, error)
    assert shape.cuts == ["metadata has 9999 characters, of which 200 are shown"]


@pytest.mark.parametrize(
    ("value", "cuts"),
    [
        (
            {f"key{index}": "v" * 30 for index in range(1000)},
            "the answer has 1000 keys, of which 25 are shown",
        ),
        ([["x" * 3000]], "the answer has 3000 characters, of which 200 are shown"),
        ({"a": {"b": [{"c": "x" * 3000}] * 2}}, "a.b has 2 items, of which 1 is shown"),
    ],
)
def test_every_kind_of_value_is_cut(value: Any, cuts: str) -> None:
    """Objects lose keys, lists lose items, and texts lose characters."""
    shape = shape_of(value, 1000)
    assert cuts in shape.cuts
    assert len(orjson.dumps(shape.value)) <= 1000


@given(_VALUES, st.integers(200, 2000))
def test_a_shape_is_short_and_a_short_value_is_its_own_shape(value: Any, room: int) -> None:
    """Any JSON has a shape, and something is named as cut exactly if it was too long."""
    size = len(orjson.dumps(value))
    shape = shape_of(value, room)
    assert (shape.value == value) == (size <= room) == (not shape.cuts)
    assert len(orjson.dumps(shape.value)) <= 2 * room


def test_five_cuts_are_named_and_the_others_are_counted() -> None:
    """The words of an answer stay short."""
    assert named(["a is cut", "b is cut"]) == "a is cut; b is cut"
    assert named(map(str, range(8))) == "0; 1; 2; 3; 4; 3 more values are cut"
