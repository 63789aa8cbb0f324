"""The arguments of a list of calls that wait for an approval."""

from __future__ import annotations

import pytest

from lro_gateway.errors import StatusError
from lro_gateway.records.approval import ApprovalState
from lro_gateway.service.approval_requests import PageRequest, parse_page


def test_arguments_are_parsed() -> None:
    """A large page is reduced, and the state may be spelt as in the answer."""
    given = {"state": "PENDING", "pageSize": "500", "pageToken": "t"}
    assert parse_page(given) == PageRequest(ApprovalState.PENDING, 100, "t")
    assert parse_page({}) == PageRequest(None, 20, "")


@pytest.mark.parametrize(
    ("name", "value"), [("state", "done"), ("pageSize", "-1"), ("pageSize", "x")]
)
def test_a_wrong_argument_is_named(name: str, value: str) -> None:
    """The error names the field."""
    with pytest.raises(StatusError) as caught:
        parse_page({name: value})
    assert caught.value.info is not None
    assert caught.value.info.metadata["field"] == name
