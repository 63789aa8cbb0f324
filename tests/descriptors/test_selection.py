"""Tests of selections of the parts of JSON, by any text and any JSON."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors.selection import parse_fields, select
from lro_gateway.errors import Code, StatusError
from tests.instances import json_values


@given(st.text("ab*(),/. @-\0é", max_size=12), json_values)
def test_any_text_selects_or_is_an_invalid_argument(text: str, value: Any) -> None:
    """No other exception is raised, and selecting the same fields twice changes nothing."""
    refused: Code | None = None
    try:
        selection = parse_fields(text)
    except StatusError as error:
        refused = error.code
    else:
        selected = select(value, selection)
        assert select(selected, selection) == selected
    assert refused in {None, Code.INVALID_ARGUMENT}


@given(json_values)
def test_a_star_selects_everything(value: Any) -> None:
    """`*` at the top level is the same as no selection."""
    assert select(value, parse_fields("*")) == value
