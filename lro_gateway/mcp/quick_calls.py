"""The calls that need no stream, which costs a read a tenth of its time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from mcp_types.version import MODERN_PROTOCOL_VERSIONS

LONGEST: Final = timedelta(seconds=10)
"""The longest deadline of a backend whose reads need no stream.

After 15 s the SDK begins a stream, so that no proxy closes the connection.
"""
_MODERN: Final = frozenset(version.encode() for version in MODERN_PROTOCOL_VERSIONS)
_STREAM: Final = b"text/event-stream"


def is_quick(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a call is a read of one operation, by the headers that repeat its body.

    Such a call has no progress. The SDK refuses a call whose headers differ from its body, and a
    client that takes no stream.
    """
    found = dict(headers)
    return (
        found.get(b"mcp-name") == b"get_operation"
        and found.get(b"mcp-method") == b"tools/call"
        and found.get(b"mcp-protocol-version") in _MODERN
        and _STREAM in found.get(b"accept", b"")
    )
