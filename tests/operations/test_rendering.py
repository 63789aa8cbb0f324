"""JSON texts, and the digests that distinguish them."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given

from lro_gateway.operations.rendering import JsonText
from tests.instances import json_values


def test_json_text_is_indented_or_on_one_line() -> None:
    """The indented form ends with a line break, because terminals need one."""
    value = {"name": "jobs/1", "done": True}
    assert JsonText.of(value, indented=True).content == (
        b'{\n  "name": "jobs/1",\n  "done": true\n}\n'
    )
    assert JsonText.of(value, indented=False).content == b'{"name":"jobs/1","done":true}'


def is_printable(value: Any) -> bool:
    """Return whether orjson prints a value; it refuses integers of more than 64 bits."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


@given(json_values.filter(is_printable))
def test_equal_texts_have_equal_digests_and_are_read_back(value: Any) -> None:
    """An ETag of one replica is valid on another replica."""
    text = JsonText.of(value, indented=False)
    assert orjson.loads(text.content) == value
    assert text.tag == JsonText(text.content).tag
    assert text.tag != JsonText.of([value], indented=False).tag
    assert text.tag.isalnum()
