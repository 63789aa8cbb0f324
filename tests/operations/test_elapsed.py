"""How long an operation has run, in words."""

from __future__ import annotations

import pytest

from lro_gateway.operations.elapsed import running
from tests.operations.test_operation import FIRST_SEEN, operation, packed
from tests.shapes import message


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (9.9, "running"),
        (10, "running for at least 10 s"),
        (119, "running for at least 1 min"),
        (7200, "running for at least 2 h"),
        (3 * 86400, "running for at least 3 d"),
    ],
)
def test_the_time_since_the_gateway_met_an_operation_is_the_least(age: float, words: str) -> None:
    """Nobody knows how long it had run before."""
    assert running(operation(FIRST_SEEN + age)) == words


def test_the_time_since_the_start_is_exact() -> None:
    """The metadata of many services has the start time."""
    job = message("Job")
    job.create_time.seconds = int(FIRST_SEEN) - 60
    assert running(operation(FIRST_SEEN + 70, metadata=packed(job))) == "running for 2 min"
