"""Messages of `tests/proto`, Anys that hold them, and their lossless form."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from google.protobuf import json_format

from lro_gateway.descriptors.parsing import parse
from lro_gateway.descriptors.type_set import TypeSet
from tests.generated import WELL_KNOWN_TYPES
from tests.shapes import descriptor_set

HOST = "type.googleapis.com/"


@cache
def types() -> TypeSet:
    """Return a set that knows the messages of `tests/proto`."""
    known = TypeSet()
    known.add(descriptor_set().file)
    return known


def message_class(name: str) -> Any:
    """Return a message class of `types`. A name without a package is in `shapes.v1`."""
    found = types().message_class(name if "." in name else f"shapes.v1.{name}")
    assert found is not None
    return found


def make(name: str, **fields: Any) -> Any:
    """Make a message of a type in `types`."""
    return message_class(name)(**fields)


def pack(payload: Any, host: str = HOST) -> Any:
    """Pack a message into an Any whose type URL begins with `host`."""
    content = payload.SerializePartialToString(deterministic=True)
    return raw(host + payload.DESCRIPTOR.full_name, content)


def raw(type_url: str, value: bytes) -> Any:
    """Make an Any from its type URL and its bytes."""
    return make("google.protobuf.Any", type_url=type_url, value=value)


def lossless(any_message: Any, problem: str) -> dict[str, str]:
    """Return the lossless form of an Any with this error text."""
    content = base64.b64encode(any_message.value).decode()
    return {"@type": any_message.type_url, "@value": content, "@error": problem}


def wrapped(payload: Any, times: int) -> Any:
    """Pack a message into an Any, that Any into another, and so on, as many times as given."""
    for _ in range(times):
        payload = pack(payload)
    return payload


def parsed(value: Any, name: str) -> Any:
    """Parse JSON into a new message."""
    message = make(name)
    parse(value, message, types())
    return message


def from_json(name: str, value: Any) -> Any:
    """Parse JSON without Anys into a new message, by json_format alone."""
    return json_format.ParseDict(value, make(name))


NAMES = [
    *(f"google.protobuf.{name}" for name in (*WELL_KNOWN_TYPES, "ListValue", "FileDescriptorSet")),
    *("shapes.v1.Everything", "shapes.v1.Job"),
    *("odd.v1.Legacy", "odd.v1.Shadow", "odd.v1.Tagged", "odd.v1.Tree", "odd.v1.Choice"),
]


PAYLOADS = [
    *(message_class(name) for name in ("Everything", "Job")),
    *(message_class(f"google.protobuf.{name}") for name in WELL_KNOWN_TYPES),
]
