"""What the store keeps of the contents of waiting calls."""

from __future__ import annotations

import pytest
from google.longrunning import operations_pb2

from lro_gateway.access.sealing import Sealer
from lro_gateway.errors import StatusError
from lro_gateway.service.approval_contents import Contents, Request

REQUEST = Request(b"\x00secret", "an-id", {"title": "secret"})
ONE, OTHER = bytes(32), bytes(range(32))


def test_a_request_is_sealed_with_the_keys_of_the_gateway() -> None:
    """Another gateway with the same key reads it, but not in the place of another call."""
    kept = Contents(Sealer(ONE)).of_request("1", REQUEST)
    assert "secret" not in kept
    assert Contents(Sealer(OTHER, ONE)).request("1", kept) == REQUEST
    for contents, id_ in ((Contents(Sealer(OTHER)), "1"), (Contents(Sealer(ONE)), "2")):
        with pytest.raises(StatusError) as caught:
            contents.request(id_, kept)
        assert caught.value.reason == "APPROVAL_UNREADABLE"


def test_without_keys_a_request_is_kept_as_it_is() -> None:
    """A key that ends with the process could not open it later."""
    kept = Contents(Sealer()).of_request("1", REQUEST)
    assert Contents(Sealer()).request("1", kept) == REQUEST


def test_an_outcome_is_an_operation() -> None:
    """A call without one has none."""
    contents = Contents(Sealer(ONE))
    outcome = operations_pb2.Operation(done=True)
    assert contents.outcome("1", contents.of_outcome("1", outcome.SerializeToString())) == outcome
    assert contents.outcome("1", "") is None
