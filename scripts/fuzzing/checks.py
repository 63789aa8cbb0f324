"""The check that every target makes, and the types of their messages."""

from __future__ import annotations

from functools import cache

from google.protobuf.message import Message

from lro_gateway.descriptors.type_set import TypeSet
from tests.shapes import descriptor_set, message


class ViolationError(Exception):
    """An input for which an invariant of the gateway does not hold."""


def check(holds: object, invariant: str) -> None:
    """Raise `ViolationError` if an invariant does not hold."""
    if not holds:
        raise ViolationError(invariant)


@cache
def types() -> TypeSet:
    """Return the types of `tests/proto`, as the gateway links them. All targets share the set."""
    made = TypeSet()
    made.add(descriptor_set().file)
    return made


def empty(name: str) -> Message:
    """Return an empty message of a type in `types`, such as `shapes.v1.Everything`."""
    made = types().message_class(name)
    check(made is not None, f"{name} is a type of tests/proto")
    return made() if made is not None else message("Job")


def text_of(data: bytes) -> str:
    """Return an input as text. Bytes that are not UTF-8 become lone surrogates."""
    return data.decode("utf-8", "surrogateescape")
