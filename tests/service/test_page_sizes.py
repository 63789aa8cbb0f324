"""The page size of a request."""

from __future__ import annotations

from typing import Any

import pytest

from lro_gateway.errors import StatusError
from lro_gateway.service.page_sizes import page_size

HOSTILE: tuple[Any, ...] = (
    "--5",
    "-",
    "1.5",
    1.5,
    float("nan"),
    float("inf"),
    True,
    [],
    [1],
    {},
    {"a": 1},
    "\u0663",
)


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        *((None, 20), ("", 20), (0, 20), ("0", 20)),
        *((7, 7), ("7", 7), (7.0, 7), (1e300, 100), ("9" * 5000, 100), (10**400, 100)),
    ],
)
def test_a_large_page_is_reduced_and_zero_means_the_default(value: Any, rows: int) -> None:
    """AIP-158."""
    assert page_size(value, default=20, most=100) == rows


@pytest.mark.parametrize("value", [*HOSTILE, "-1", -1, "-" + "9" * 5000])
def test_anything_else_is_refused_by_name(value: Any) -> None:
    """Whatever JSON an agent sends, the error names the field."""
    with pytest.raises(StatusError) as caught:
        page_size(value, default=20, most=100)
    assert caught.value.info is not None
    assert caught.value.info.metadata["field"] == "pageSize"
