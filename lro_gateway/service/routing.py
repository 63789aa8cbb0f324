"""The values of the fields that the HTTP path of a method names. They choose where a call goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from lro_gateway.descriptors.methods import Method


def routing_header(method: Method, request: Message) -> dict[str, str]:
    """Return the values of the fields that the method's HTTP path names, by field path.

    The backend gets them in the routing header `x-goog-request-params` (AIP-4222).
    """
    found = {}
    for field in method.routing_fields:
        value: Any = request
        for each in field.path:
            value = getattr(value, each.name, "")
        if isinstance(value, str) and value:
            found[field.name] = value
    return found


def routing_names(method: Method, arguments: Mapping[str, Any]) -> list[str]:
    """Return the resource names in the arguments, from the fields that the HTTP path names."""
    names = []
    for field in method.routing_fields:
        value: Any = arguments
        for each in field.path:
            if not isinstance(value, Mapping):
                break
            value = value.get(each.json_name, value.get(each.name))
        if isinstance(value, str) and value:
            names.append(value)
    return names
