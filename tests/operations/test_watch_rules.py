"""Watch rules: how often operations are polled."""

from __future__ import annotations

import pytest

from lro_gateway.operations.watch_rules import Cadence


@pytest.mark.parametrize(
    ("age", "seconds"),
    [(0, 0.5), (9.99, 0.5), (10, 7), (59.9, 7), (60, 90), (1e9, 90)],
)
def test_an_older_operation_is_polled_less_often(age: float, seconds: float) -> None:
    """The interval changes at ages of 10 and 60 seconds."""
    assert Cadence(young=0.5, middle=7, old=90).interval(age) == seconds
