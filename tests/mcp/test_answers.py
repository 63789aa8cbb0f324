"""Tests of the JSON text of a result, which a model reads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.errors import escaped
from lro_gateway.mcp.answers import json_text

HIDDEN = st.sampled_from(
    "\x1b\n\x7f\x9b\u200b\u2028\u202e\u2066\u061c\ufe0f\u3164\ufeff\U000e0041\U000e0100"
)


@given(st.text(st.characters(exclude_categories=["Cs"]) | HIDDEN))
def test_the_text_is_the_same_json(text: str) -> None:
    """Escapes stand for the characters that show nothing."""
    value = {text: [text]}
    shown = json_text(value)
    assert json.loads(shown) == value
    assert not set(shown) & set(
        "\x7f\x9b\u200b\u2028\u202e\u2066\u061c\ufe0f\u3164\ufeff\U000e0041\U000e0100"
    )


@pytest.mark.parametrize("text", ["plain", "\u65e5\u672c \xe9 \U0001f600", 'a "quoted" \\ word'])
def test_a_text_whose_characters_show_is_not_changed(text: str) -> None:
    """It is what a JSON encoder writes that escapes as little as possible."""
    assert escaped(text) == text
    assert json_text({"a": text}) == json.dumps(
        {"a": text}, ensure_ascii=False, separators=(",", ":")
    )
