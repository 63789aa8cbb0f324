"""From the bytes that gRPC received to a message."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

_Message = TypeVar("_Message", bound=Message)


def parsed(kind: type[_Message], content: object) -> _Message | None:
    """Return the message in an answer's bytes, or None if they are not a message of this kind.

    gRPC gives None instead of bytes if a call ended with OK and without a message.
    """
    if not isinstance(content, bytes):
        return None
    try:
        return kind.FromString(content)
    except DecodeError:
        return None
