"""Parsing of the bytes that gRPC received."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

_Message = TypeVar("_Message", bound=Message)


def parsed(kind: type[_Message], content: object) -> _Message | None:
    """Parse the content of an answer as a message of this type. Return None if that fails.

    The content is None instead of bytes if a call ended with OK and without a message.
    """
    if not isinstance(content, bytes):
        return None
    try:
        return kind.FromString(content)
    except DecodeError:
        return None
