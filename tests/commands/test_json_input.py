"""JSON that a person passes is read strictly, and each mistake is a sentence."""

from __future__ import annotations

import io
import sys

import pytest

from lro_gateway.commands.json_input import json_of, stdin_text


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('{"a": NaN}', "there is no value NaN"),
        ("-Infinity", "there is no value -Infinity"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' is given twice"),
        ("[" * 100_000, "it nests too deeply"),
        ("{", "Expecting"),
    ],
)
def test_a_mistake_is_told(text: str, mistake: str) -> None:
    """The gateway would refuse the same, or never get it."""
    with pytest.raises(ValueError, match=mistake):
        json_of(text)


def test_stdin_is_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoding of the terminal does not count. A closed stdin is a mistake too."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO('\ufeff{"é": 1}'.encode())))
    assert json_of(stdin_text()) == {"é": 1}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xe9")))
    with pytest.raises(ValueError, match="not UTF-8"):
        stdin_text()
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="closed"):
        stdin_text()
