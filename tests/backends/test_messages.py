"""Parsing of the answers that gRPC returns."""

from __future__ import annotations

import pytest
from google.longrunning import operations_pb2

from lro_gateway.backends.messages import parsed

DONE = operations_pb2.Operation(name="jobs/1", done=True)


def test_the_bytes_of_a_message_are_parsed() -> None:
    """Zero bytes are an empty message."""
    assert parsed(operations_pb2.Operation, DONE.SerializeToString()) == DONE
    assert parsed(operations_pb2.Operation, b"") == operations_pb2.Operation()


@pytest.mark.parametrize("content", [None, b"\xff\xff", b"\x0a\x05ab", b"\x0a\x01\xe9"])
def test_any_other_content_is_no_message(content: bytes | None) -> None:
    """The content is None if a call ended with OK and no message. Strings must be UTF-8."""
    assert parsed(operations_pb2.Operation, content) is None
