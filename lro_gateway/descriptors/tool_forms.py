"""The forms of scalars and well-known types in ProtoJSON, as a model must send them.

Each is a schema of a few common keywords, and a sentence that goes into the description of a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor import FieldDescriptor

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.json_forms import Schema

ToolForm = tuple[Schema, str]

_T: Final = FieldDescriptor
_INTEGER: Final[ToolForm] = ({"type": "integer"}, "")
# A number loses digits above 2^53 in many clients. A schema with two types makes a converter of
# Anthropic's SDK fail, and becomes a union beside a description, which Vertex AI refuses.
_INTEGER_64: Final[ToolForm] = ({"type": "string"}, "An integer.")
_NUMBER: Final[ToolForm] = ({"type": "number"}, "")
_BOOL: Final[ToolForm] = ({"type": "boolean"}, "")
_STRING: Final[ToolForm] = ({"type": "string"}, "")
_BYTES: Final[ToolForm] = ({"type": "string"}, "In base64.")
_INTEGER_KEYS: Final = "The keys are integers."

SCALARS: Final[Mapping[int, ToolForm]] = {
    _T.TYPE_DOUBLE: _NUMBER,
    _T.TYPE_FLOAT: _NUMBER,
    **dict.fromkeys((_T.TYPE_INT32, _T.TYPE_SINT32, _T.TYPE_SFIXED32), _INTEGER),
    **dict.fromkeys((_T.TYPE_UINT32, _T.TYPE_FIXED32), _INTEGER),
    **dict.fromkeys((_T.TYPE_INT64, _T.TYPE_SINT64, _T.TYPE_SFIXED64), _INTEGER_64),
    **dict.fromkeys((_T.TYPE_UINT64, _T.TYPE_FIXED64), _INTEGER_64),
    _T.TYPE_BOOL: _BOOL,
    _T.TYPE_STRING: _STRING,
    _T.TYPE_BYTES: _BYTES,
}
"""The forms of scalars by the type of the field."""

WELL_KNOWN: Final[Mapping[str, ToolForm]] = {
    # Vertex AI refuses all tools of a request if a schema has no type.
    well_known.VALUE: ({"type": "object"}, "Any JSON value, not only an object."),
    well_known.EMPTY: ({"type": "object"}, "An empty object."),
    well_known.DOUBLE_VALUE: _NUMBER,
    well_known.FLOAT_VALUE: _NUMBER,
    well_known.INT64_VALUE: _INTEGER_64,
    well_known.UINT64_VALUE: _INTEGER_64,
    well_known.INT32_VALUE: _INTEGER,
    well_known.UINT32_VALUE: _INTEGER,
    well_known.BOOL_VALUE: _BOOL,
    well_known.STRING_VALUE: _STRING,
    well_known.BYTES_VALUE: _BYTES,
    well_known.ANY: (
        {"type": "object"},
        "A message: @type has the type URL of the message, and its fields are beside @type.",
    ),
    well_known.TIMESTAMP: ({"type": "string", "format": "date-time"}, ""),
    well_known.DURATION: ({"type": "string"}, "Such as 30s."),
    well_known.FIELD_MASK: ({"type": "string"}, "Such as displayName,labels."),
    well_known.STRUCT: ({"type": "object"}, "Any JSON object."),
    # Some clients refuse the schema of an array if it has no `items`.
    well_known.LIST_VALUE: (
        {"type": "array", "items": {"type": "object"}},
        "Any JSON values, not only objects.",
    ),
}
"""The forms of well-known types by full name."""

KEYS: Final[Mapping[int, str]] = {
    **{kind: _INTEGER_KEYS for kind, form in SCALARS.items() if form in (_INTEGER, _INTEGER_64)},
    _T.TYPE_BOOL: "The keys are true and false.",
}
"""The sentence on the keys of a map, by their type. String keys need none."""
