"""A strategy of JSON that is valid by the schema of a message, and a validator for such schemas.

Both respect `format` and `contentEncoding`, as a model does that reads the schema.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from lro_gateway.descriptors.schema import Schema

_TOO_DEEP = -8
_LARGEST = 1.7976931348623157e308

_BOUNDS: Mapping[str, tuple[int, int]] = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def is_integer_of(format_: str, text: str) -> bool:
    """Return whether text is a decimal integer within the range of a format such as `int64`."""
    low, high = _BOUNDS[format_]
    return re.fullmatch(r"-?[0-9]+", text) is not None and low <= int(text) <= high


def is_date_time(text: str) -> bool:
    """Return whether text is an RFC 3339 date-time that a Timestamp can hold.

    A Timestamp holds years 1 to 9999 in UTC, with nanoseconds. The schema's description says so.
    """
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return False
    try:
        local = datetime.fromisoformat(f"{found[1]}+00:00")
        offset = datetime.fromisoformat(f"2000-01-01T00:00:00{found[2]}").utcoffset()
        return offset is not None and bool(local - offset)
    except (ValueError, OverflowError):
        return False


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True


def _check_encoding(
    _validator: Validator, encoding: str, value: Any, _schema: Schema
) -> Iterator[ValidationError]:
    if encoding == "base64" and isinstance(value, str) and not _is_base64(value):
        yield ValidationError(f"{value!r} is not base64")


_WITH_ENCODINGS: Any = extend(  # type: ignore[no-untyped-call]  # its stub has no types for this
    Draft202012Validator, {"contentEncoding": _check_encoding}
)
_FORMATS = FormatChecker(formats=())
for _format in _BOUNDS:
    # For a number, the schema's minimum and maximum state the range.
    _FORMATS.checks(_format)(
        lambda value, of=_format: not isinstance(value, str) or is_integer_of(of, value)
    )
_FORMATS.checks("date-time")(lambda value: not isinstance(value, str) or is_date_time(value))


def validator(schema: Schema) -> Validator:
    """Return a validator of a schema that checks formats and encodings too."""
    made: Validator = _WITH_ENCODINGS(schema, format_checker=_FORMATS)
    return made


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


@dataclass(frozen=True)
class Payload:
    """A payload type of an Any, with its schema; `under_value` if its JSON is in `value`."""

    name: str
    schema: Schema
    under_value: bool = False


@st.composite
def instances(
    draw: st.DrawFn, schema: Schema, payloads: Sequence[Payload] = (), depth: int = 3
) -> Any:
    """Draw JSON that is valid by a schema, whose references are in its own `$defs`.

    Each Any holds one of `payloads`.
    """
    return _Drawing(draw, payloads, schema.get("$defs", {})).value(schema, depth)


@dataclass(frozen=True)
class _Drawing:
    draw: st.DrawFn
    payloads: Sequence[Payload]
    definitions: dict[str, Schema]

    def value(self, schema: Schema, depth: int) -> Any:
        if depth < _TOO_DEEP:
            # A message with a required field of its own type has no finite JSON.
            reject()
        if "$ref" in schema:
            return self.value(self.definitions[schema["$ref"].rpartition("/")[2]], depth)
        if "anyOf" in schema:
            return self.value(self.draw(st.sampled_from(schema["anyOf"])), depth)
        if "enum" in schema:
            return self.draw(st.sampled_from(schema["enum"]))
        if "type" not in schema:
            return self.draw(json_values)
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return self.of_type(self.draw(st.sampled_from(kinds)), schema, depth)

    def of_type(self, kind: str, schema: Schema, depth: int) -> Any:
        match kind:
            case "boolean":
                return self.draw(st.booleans())
            case "integer":
                return self.draw(st.integers(schema.get("minimum"), schema.get("maximum")))
            case "number":
                low, high = schema.get("minimum", -_LARGEST), schema.get("maximum", _LARGEST)
                return self.draw(st.floats(low, high) | st.integers(int(low), int(high)))
            case "string":
                return self.draw(_strings(schema))
            case "array":
                count = self.draw(st.integers(0, 2)) if depth > 0 else 0
                return [self.value(schema.get("items", {}), depth - 1) for _ in range(count)]
            case _:
                return self.object(schema, depth)

    def object(self, schema: Schema, depth: int) -> Any:
        properties = schema.get("properties", {})
        if any("@type" in example for example in schema.get("examples", ())):
            return self.any(depth)
        required = schema.get("required", [])
        optional = [name for name in properties if name not in required]
        chosen: list[str] = []
        if optional:
            chosen = self.draw(st.lists(st.sampled_from(optional), unique=True, max_size=4))
        names = [*required, *(chosen if depth > 0 else [])]
        excluded = {
            other
            for name in names
            for other in schema.get("dependentSchemas", {}).get(name, {}).get("properties", {})
        }
        value = {n: self.value(properties[n], depth - 1) for n in names if n not in excluded}
        others = schema.get("additionalProperties", True)
        if not properties and others is not False:
            inner = {} if others is True else others
            keys = _strings(schema.get("propertyNames", {}))
            # The keys 1 and 01 are one key of a map of integers, which may be given once.
            distinct = st.lists(keys, max_size=2, unique_by=lambda key: key.lstrip("-0"))
            for key in self.draw(distinct) if depth > 0 else ():
                value[key] = self.value(inner, depth - 1)
        return value

    def any(self, depth: int) -> Any:
        if not self.payloads:
            reject()
        payload = self.draw(st.sampled_from(self.payloads))
        url = self.draw(st.text(max_size=3)) + "/" + payload.name
        inner = _Drawing(self.draw, self.payloads, payload.schema.get("$defs", {}))
        content = inner.value(payload.schema, depth - 1)
        return (
            {"@type": url, "value": content} if payload.under_value else {"@type": url, **content}
        )


@st.composite
def _date_times(draw: st.DrawFn) -> str:
    local = draw(st.datetimes()).replace(microsecond=0).isoformat()
    fraction = draw(st.just("") | st.from_regex(r"\.[0-9]{1,9}", fullmatch=True))
    offset = draw(st.just("Z") | st.from_regex(r"[+-][0-2][0-9]:[0-5][0-9]", fullmatch=True))
    return local + fraction + offset


def _integers(low: int, high: int) -> st.SearchStrategy[str]:
    """Return decimal integers of a range, also with leading zeros."""
    return st.builds(
        lambda number, zeros: f"{'-' if number < 0 else ''}{'0' * zeros}{abs(number)}",
        st.integers(low, high) | st.sampled_from([low, high]),
        st.integers(0, 2),
    )


def _strings(schema: Schema) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if (bounds := _BOUNDS.get(schema.get("format", ""))) is not None:
        return _integers(*bounds)
    if schema.get("format") == "date-time":
        return _date_times().filter(is_date_time)
    if schema.get("contentEncoding") == "base64":
        return st.binary(max_size=8).map(lambda content: base64.b64encode(content).decode())
    if "pattern" in schema:
        # JSON text may have lone surrogates, but a protobuf string cannot hold them.
        alphabet = st.characters(codec="utf-8")
        return st.from_regex(schema["pattern"], fullmatch=True, alphabet=alphabet)
    return st.text(max_size=6)
