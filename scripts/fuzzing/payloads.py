"""Targets of messages: ProtoJSON of requests, and the bytes of Anys and operations in answers."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, Final

import orjson
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message

from lro_gateway.descriptors.parsing import parse
from lro_gateway.descriptors.printing import JsonOptions, any_to_json, to_json
from lro_gateway.errors import StatusError
from lro_gateway.mcp import words
from lro_gateway.mcp.answers import json_text
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from scripts.fuzzing.checks import check, empty, types

TYPES: Final = (
    *("shapes.v1.Everything", "odd.v1.Legacy", "odd.v1.Tree", "odd.v1.Choice", "odd.v1.Shadow"),
    *("shapes.v1.Job", "google.protobuf.Any", "google.protobuf.Struct", "google.protobuf.Value"),
    *("google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"),
)
"""The types of messages. The first byte of an input chooses one."""
_LONGEST_SENTENCE: Final = 1000
_HIDDEN: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})


def _bytes_of(message: Message) -> bytes:
    return message.SerializePartialToString(deterministic=True)


def protojson(data: bytes) -> None:
    """Parse JSON into a message. What was parsed is printed, and parsed again to the same bytes."""
    name = TYPES[data[0] % len(TYPES)] if data else TYPES[0]
    try:
        value = json.loads(data[1:])
    except (ValueError, RecursionError):
        return
    message = empty(name)
    try:
        parse(value, message, types(), "body")
    except StatusError as error:
        check(len(error.message) < 2_000 + len(data), "an error text has a limited length")
        return
    try:
        printed = to_json(message, types())
    except ValueError:
        return
    again = empty(name)
    parse(printed, again, types())
    check(_bytes_of(again) == _bytes_of(message), "printed JSON is parsed to the same message")


def any_bytes(data: bytes) -> None:
    """Print an Any. This never fails, and parsing what is printed gives the same payload."""
    if not data:
        return
    name = (*TYPES, "unknown.Type", "\u202e")[data[0] % (len(TYPES) + 2)]
    packed = any_pb2.Any(type_url=f"type.googleapis.com/{name}", value=data[1:])
    any_to_json(packed, types(), JsonOptions(enum_numbers=True))
    printed = any_to_json(packed, types())
    text = json_text(printed)
    check(len(text) <= 100 * len(data) + 1_000, "the JSON has a limited length")
    if "FieldMask" in text:
        # The paths of a FieldMask of a backend may be any texts, which are printed as they are. A
        # request may name only fields.
        return
    parsed = empty("google.protobuf.Any")
    parse(printed, parsed, types())
    again = any_to_json(_as_any(parsed), types())
    check(
        _without_reason(again) == _without_reason(printed), "a payload is parsed as it is printed"
    )


def _as_any(message: Message) -> any_pb2.Any:
    return any_pb2.Any.FromString(message.SerializeToString())


def _without_reason(printed: Any) -> bytes:
    kept = {key: value for key, value in printed.items() if key != "@error"}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def operations(data: bytes) -> None:
    """Describe an Operation. Its JSON never fails, and no character of a sentence is hidden."""
    try:
        proto = operations_pb2.Operation.FromString(data)
    except DecodeError:
        return
    operation = Operation(
        "b", GatewayName(proto.name), proto, types(), received=2.0, first_seen=1.0
    )
    json_text(operation.to_json())
    for describe in (words.describe, words.describe_cancelled, words.describe_task):
        text = describe(operation)
        check(len(text) <= _LONGEST_SENTENCE, "a sentence has a limited length")
        check(not _HIDDEN.intersection(map(unicodedata.category, text)), "each character shows")
        # The advice for later looks quotes an argument, which is the gateway's own text.
        quoted = text.replace('fields "done,error,response"', "")
        check(quoted.count('"') in {0, 2}, "a sentence quotes one text")
