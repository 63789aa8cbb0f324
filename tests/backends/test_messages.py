"""Parsing of the answers that gRPC returns."""

from __future__ import annotations

import pytest
from google.longrunning import operations_pb2

from lro_gateway.backends.channel import Endpoint
from lro_gateway.backends.messages import parsed, received
from lro_gateway.descriptors.elements import Capacity
from lro_gateway.errors import StatusError

DONE = operations_pb2.Operation(name="jobs/1", done=True)


def test_the_bytes_of_a_message_are_parsed() -> None:
    """Zero bytes are an empty message."""
    assert parsed(operations_pb2.Operation, DONE.SerializeToString()) == DONE
    assert parsed(operations_pb2.Operation, b"") == operations_pb2.Operation()


@pytest.mark.parametrize("content", [None, b"\xff\xff", b"\x0a\x05ab", b"\x0a\x01\xe9"])
def test_any_other_content_is_no_message(content: bytes | None) -> None:
    """The content is None if a call ended with OK and no message. Strings must be UTF-8."""
    assert parsed(operations_pb2.Operation, content) is None


async def test_an_answer_with_too_many_elements_is_not_parsed() -> None:
    """The error names the limit and the setting. An answer at the limit is parsed."""
    capacity, endpoint = Capacity(1000), Endpoint("b", "127.0.0.1:1")
    page = operations_pb2.ListOperationsResponse(unreachable=["a"] * 1000)
    answer = page.SerializeToString()
    assert await received(type(page), answer, capacity, "p.S/M", endpoint) == page
    with pytest.raises(StatusError, match="more than 1000 elements") as refused:
        await received(type(page), answer + answer[:3], capacity, "p.S/M", endpoint)
    assert refused.value.reason == "RESPONSE_TOO_LARGE"
    info = refused.value.info
    assert info is not None
    assert info.metadata["limit"] == "1000"
    assert info.metadata["setting"] == "max_message_elements"
