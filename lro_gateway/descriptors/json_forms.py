"""JSON Schema for scalars and well-known types in ProtoJSON.

`PRINTED` describes values that the gateway prints. `SENT` describes values that a caller sends.
ProtoJSON accepts several forms of some values. `SENT` describes only the simplest form of each
value, so that an AI model need not choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from lro_gateway.descriptors import well_known

Schema = dict[str, Any]

_T: Final = FieldDescriptor
_BITS_32: Final = (_T.TYPE_INT32, _T.TYPE_SINT32, _T.TYPE_SFIXED32)
_BITS_64: Final = (_T.TYPE_INT64, _T.TYPE_SINT64, _T.TYPE_SFIXED64)
_UNSIGNED_32: Final = (_T.TYPE_UINT32, _T.TYPE_FIXED32)
_UNSIGNED_64: Final = (_T.TYPE_UINT64, _T.TYPE_FIXED64)


@dataclass(frozen=True, slots=True)
class Form:
    """The schema of a value.

    If the form has a `name`, its schema is written once in the definitions, and values refer to it.
    """

    schema: Schema
    name: str = ""


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms of scalars by `FieldDescriptor` type, and of well-known types by full name."""

    scalars: Mapping[int, Form]
    well_known: Mapping[str, Form]


_SIGNED: Final = "^-?[0-9]+$"
_UNSIGNED: Final = "^[0-9]+$"

KEYS: Final[Mapping[int, Schema]] = {
    **{key: {"format": "int32", "pattern": _SIGNED} for key in _BITS_32},
    **{key: {"format": "int64", "pattern": _SIGNED} for key in _BITS_64},
    **{key: {"format": "uint32", "pattern": _UNSIGNED} for key in _UNSIGNED_32},
    **{key: {"format": "uint64", "pattern": _UNSIGNED} for key in _UNSIGNED_64},
    _T.TYPE_BOOL: {"enum": ["true", "false"]},
}
"""The schema of a map's property names, by the type of the keys. String keys need no schema."""

_INT32: Final = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32: Final = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_BOOL: Final = {"type": "boolean"}
_STRING: Final = {"type": "string"}
_EMPTY: Final = {"type": "object", "additionalProperties": False}


def _forms(
    *,
    int64: Form,
    uint64: Form,
    double: Form,
    single: Form,
    bytes_: Form,
    others: Mapping[str, Form],
) -> Forms:
    int32, uint32, boolean, string = Form(_INT32), Form(_UINT32), Form(_BOOL), Form(_STRING)
    return Forms(
        {
            _T.TYPE_DOUBLE: double,
            _T.TYPE_FLOAT: single,
            **dict.fromkeys(_BITS_64, int64),
            **dict.fromkeys(_UNSIGNED_64, uint64),
            **dict.fromkeys(_BITS_32, int32),
            **dict.fromkeys(_UNSIGNED_32, uint32),
            _T.TYPE_BOOL: boolean,
            _T.TYPE_STRING: string,
            _T.TYPE_BYTES: bytes_,
        },
        {
            well_known.VALUE: Form({}),
            well_known.EMPTY: Form(_EMPTY),
            well_known.DOUBLE_VALUE: double,
            well_known.FLOAT_VALUE: single,
            well_known.INT64_VALUE: int64,
            well_known.UINT64_VALUE: uint64,
            well_known.INT32_VALUE: int32,
            well_known.UINT32_VALUE: uint32,
            well_known.BOOL_VALUE: boolean,
            well_known.STRING_VALUE: string,
            well_known.BYTES_VALUE: bytes_,
            **others,
        },
    )


_PRINTED_FLOAT: Final = Form(
    {"anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]}
)
PRINTED: Final = _forms(
    int64=Form({"type": ["string", "integer"], "format": "int64", "pattern": _SIGNED}),
    uint64=Form(
        {"type": ["string", "integer"], "format": "uint64", "pattern": _UNSIGNED, "minimum": 0}
    ),
    double=_PRINTED_FLOAT,
    single=_PRINTED_FLOAT,
    bytes_=Form({"type": "string", "contentEncoding": "base64"}),
    others={
        well_known.ANY: Form(
            {
                "type": "object",
                "properties": {
                    "@type": {"type": "string", "description": "The type URL of the message."},
                    "@value": {
                        "type": "string",
                        "description": "The bytes of an unreadable message, as base64.",
                    },
                    "@error": {"type": "string", "description": "Why the message is unreadable."},
                },
                "additionalProperties": True,
            }
        ),
        well_known.TIMESTAMP: Form({"type": "string", "format": "date-time"}),
        well_known.DURATION: Form(
            {
                "type": "string",
                "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
                "examples": ["30s"],
            }
        ),
        well_known.FIELD_MASK: Form({"type": "string"}),
        well_known.STRUCT: Form({"type": "object", "additionalProperties": True}),
        well_known.LIST_VALUE: Form({"type": "array"}),
    },
)

_DURATION_URL: Final = f"type.googleapis.com/{well_known.DURATION}"
_FLOAT_MAX: Final = 3.4028235e38
"""The largest float of 32 bits, in the form that is printed."""

SENT: Final = _forms(
    int64=Form(
        {
            "type": ["string", "integer"],
            "format": "int64",
            "pattern": _SIGNED,
            "minimum": -(2**63),
            "maximum": 2**63 - 1,
            "description": "A 64-bit integer. Write it as a string if it is above 2^53.",
        },
        "int64",
    ),
    uint64=Form(
        {
            "type": ["string", "integer"],
            "format": "uint64",
            "pattern": _UNSIGNED,
            "minimum": 0,
            "maximum": 2**64 - 1,
            "description": (
                "An unsigned 64-bit integer. Write it as a string if it is above 2^53."
            ),
        },
        "uint64",
    ),
    double=Form({"type": "number"}),
    single=Form({"type": "number", "minimum": -_FLOAT_MAX, "maximum": _FLOAT_MAX}),
    bytes_=Form({"type": "string", "contentEncoding": "base64"}),
    others={
        well_known.ANY: Form(
            {
                "type": "object",
                # A provider would refuse the key @type in `properties`.
                "additionalProperties": True,
                "description": (
                    "A message of the type whose type URL is under the key @type. Write the"
                    " message's fields beside @type. If the type has a JSON form of its own, as a"
                    " Duration has, write it under value."
                ),
                "examples": [{"@type": _DURATION_URL, "value": "30s"}],
            },
            well_known.ANY,
        ),
        well_known.TIMESTAMP: Form(
            {
                "type": "string",
                "format": "date-time",
                "description": (
                    "A time in RFC 3339, from year 1 to 9999 UTC, with at most 9 fractional digits."
                ),
                "examples": ["2026-01-31T08:30:00Z"],
            },
            well_known.TIMESTAMP,
        ),
        well_known.DURATION: Form(
            {
                "type": "string",
                "pattern": r"^-?[0-9]{1,11}(\.[0-9]{1,9})?s$",
                "description": "A number of seconds, followed by s.",
                "examples": ["30s", "0.5s"],
            },
            well_known.DURATION,
        ),
        well_known.FIELD_MASK: Form(
            {
                "type": "string",
                "pattern": "^([A-Za-z0-9_*]+([.,][A-Za-z0-9_*]+)*)?$",
                "description": "Field paths, separated by commas.",
                "examples": ["displayName,labels"],
            },
            well_known.FIELD_MASK,
        ),
        well_known.STRUCT: Form({"type": "object", "additionalProperties": True}),
        # Some clients refuse the schema of an array if it has no `items`.
        well_known.LIST_VALUE: Form({"type": "array", "items": {}}),
    },
)
