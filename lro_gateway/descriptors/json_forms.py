"""How single values look in ProtoJSON: scalars and well-known types as JSON Schema.

`PRINTED` holds for what a backend answers. `SENT` is narrower: what it accepts ProtoJSON parses, in
the one form of several that a model is best told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

Schema = dict[str, Any]

_T: Final = FieldDescriptor
_BITS_32: Final = (_T.TYPE_INT32, _T.TYPE_SINT32, _T.TYPE_SFIXED32)
_BITS_64: Final = (_T.TYPE_INT64, _T.TYPE_SINT64, _T.TYPE_SFIXED64)
_UNSIGNED_32: Final = (_T.TYPE_UINT32, _T.TYPE_FIXED32)
_UNSIGNED_64: Final = (_T.TYPE_UINT64, _T.TYPE_FIXED64)


@dataclass(frozen=True, slots=True)
class Form:
    """The schema of a value; one with a `name` is written once, among the definitions."""

    schema: Schema
    name: str = ""


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms of scalars by the field's type, and of well-known types by full name."""

    scalars: Mapping[int, Form]
    well_known: Mapping[str, Form]


FREE: Final = frozenset({"google.protobuf.Any", "google.protobuf.Struct"})
"""Well-known types whose JSON is an object that is not made of their fields."""

BARE: Final = frozenset(
    f"google.protobuf.{name}"
    for name in (
        *("Duration", "FieldMask", "ListValue", "Timestamp", "Value"),
        *("BoolValue", "BytesValue", "DoubleValue", "FloatValue"),
        *("Int32Value", "Int64Value", "StringValue", "UInt32Value", "UInt64Value"),
    )
)
"""Well-known types whose JSON need not be an object; where one is needed it stands in `value`."""


def digits_up_to(limit: int) -> str:
    """Return a pattern of the decimal numbers from 0 to a limit, leading zeros aside.

    Made of nested alternatives: at each digit, a smaller one and anything, or the same and on.
    """
    text = str(limit)
    pattern = ""
    for index in reversed(range(len(text))):
        digit, left = int(text[index]), len(text) - index - 1
        smallest = 1 if index == 0 and left else 0
        if not left:
            pattern = _digits(smallest, digit)
        elif digit == smallest:
            pattern = f"{digit}{pattern}"
        else:
            below = f"{_digits(smallest, digit - 1)}[0-9]{{{left}}}"
            pattern = f"(?:{below}|{digit}{pattern})"
    return f"(?:[0-9]{{1,{len(text) - 1}}}|{pattern})" if len(text) > 1 else pattern


def _digits(first: int, last: int) -> str:
    return str(first) if first == last else f"[{first}-{last}]"


def _signed(bits: int) -> str:
    largest = 2 ** (bits - 1) - 1
    return f"^(?:-?{digits_up_to(largest)}|-{largest + 1})$"


def _unsigned(bits: int) -> str:
    return f"^{digits_up_to(2**bits - 1)}$"


KEYS: Final[Mapping[int, Schema]] = {
    **{key: {"pattern": _signed(32)} for key in _BITS_32},
    **{key: {"pattern": _signed(64)} for key in _BITS_64},
    **{key: {"pattern": _unsigned(32)} for key in _UNSIGNED_32},
    **{key: {"pattern": _unsigned(64)} for key in _UNSIGNED_64},
    _T.TYPE_BOOL: {"enum": ["true", "false"]},
}
"""The property names of a map whose keys are of a type; a string is any."""

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
            "google.protobuf.Value": Form({}),
            "google.protobuf.Empty": Form(_EMPTY),
            "google.protobuf.DoubleValue": double,
            "google.protobuf.FloatValue": single,
            "google.protobuf.Int64Value": int64,
            "google.protobuf.UInt64Value": uint64,
            "google.protobuf.Int32Value": int32,
            "google.protobuf.UInt32Value": uint32,
            "google.protobuf.BoolValue": boolean,
            "google.protobuf.StringValue": string,
            "google.protobuf.BytesValue": bytes_,
            **others,
        },
    )


_PRINTED_FLOAT: Final = Form(
    {"anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]}
)
PRINTED: Final = _forms(
    int64=Form({"type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$"}),
    uint64=Form(
        {"type": ["string", "integer"], "format": "uint64", "pattern": "^[0-9]+$", "minimum": 0}
    ),
    double=_PRINTED_FLOAT,
    single=_PRINTED_FLOAT,
    bytes_=Form({"type": "string", "contentEncoding": "base64"}),
    others={
        "google.protobuf.Any": Form(
            {
                "type": "object",
                "properties": {
                    "@type": {"type": "string", "description": "The type URL of what follows."},
                    "@value": {
                        "type": "string",
                        "description": "The payload as base64, only where it could not be read.",
                    },
                    "@error": {"type": "string", "description": "Why it could not be read."},
                },
                "additionalProperties": True,
            }
        ),
        "google.protobuf.Timestamp": Form({"type": "string", "format": "date-time"}),
        "google.protobuf.Duration": Form(
            {
                "type": "string",
                "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
                "examples": ["30s"],
            }
        ),
        "google.protobuf.FieldMask": Form({"type": "string"}),
        "google.protobuf.Struct": Form({"type": "object", "additionalProperties": True}),
        "google.protobuf.ListValue": Form({"type": "array"}),
    },
)

_DAY: Final = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_YEAR: Final = (
    "(?:000[2-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])"
)
_LEAP_YEAR: Final = (
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
)
_HOUR: Final = "(?:[01][0-9]|2[0-3])"
_TIME: Final = rf"T{_HOUR}:[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,9}})?"
# In the first and the last year an offset could lead out of what a Timestamp holds.
_TIMESTAMP: Final = (
    f"^(?:(?:{_YEAR}-{_DAY}|{_LEAP_YEAR}-02-29){_TIME}(?:Z|[+-]{_HOUR}:[0-5][0-9])"
    f"|(?:0001|9999)-{_DAY}{_TIME}Z)$"
)
_DURATION: Final = rf"^-?{digits_up_to(315_576_000_000)}(?:\.[0-9]{{1,9}})?s$"
_BASE64: Final = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_FLOAT_MAX: Final = 3.4028234663852886e38

SENT: Final = _forms(
    int64=Form(
        {
            "type": ["string", "integer"],
            "format": "int64",
            "pattern": _signed(64),
            "minimum": -(2**63),
            "maximum": 2**63 - 1,
            "description": "A 64-bit integer; past 2^53 write it as a string.",
        },
        "int64",
    ),
    uint64=Form(
        {
            "type": ["string", "integer"],
            "format": "uint64",
            "pattern": _unsigned(64),
            "minimum": 0,
            "maximum": 2**64 - 1,
            "description": "An unsigned 64-bit integer; past 2^53 write it as a string.",
        },
        "uint64",
    ),
    double=Form({"type": "number"}),
    single=Form({"type": "number", "minimum": -_FLOAT_MAX, "maximum": _FLOAT_MAX}),
    bytes_=Form({"type": "string", "contentEncoding": "base64", "pattern": _BASE64}),
    others={
        "google.protobuf.Any": Form(
            {
                "type": "object",
                "properties": {
                    "@type": {
                        "type": "string",
                        "description": "Such as type.googleapis.com/google.protobuf.Duration.",
                    }
                },
                "required": ["@type"],
                "additionalProperties": True,
                "description": (
                    "A message of the type that @type names: its fields stand beside @type, or"
                    " under value if the type has a JSON form of its own, as a Duration has."
                ),
            },
            "google.protobuf.Any",
        ),
        "google.protobuf.Timestamp": Form(
            {
                "type": "string",
                "format": "date-time",
                "pattern": _TIMESTAMP,
                "examples": ["2026-01-31T08:30:00Z"],
            },
            "google.protobuf.Timestamp",
        ),
        "google.protobuf.Duration": Form(
            {
                "type": "string",
                "pattern": _DURATION,
                "description": "Seconds, followed by s.",
                "examples": ["30s", "0.5s"],
            },
            "google.protobuf.Duration",
        ),
        "google.protobuf.FieldMask": Form(
            {
                "type": "string",
                "pattern": "^[^_]*$",
                "description": "Paths of fields in camelCase, separated by commas.",
                "examples": ["displayName,labels"],
            },
            "google.protobuf.FieldMask",
        ),
        "google.protobuf.Struct": Form({"type": "object", "additionalProperties": True}),
        # Some clients refuse an array without items.
        "google.protobuf.ListValue": Form({"type": "array", "items": {}}),
    },
)
