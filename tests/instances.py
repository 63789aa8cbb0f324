"""A hypothesis strategy: JSON that is valid by a schema of those that messages have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from lro_gateway.descriptors.schema import Schema

_TOO_DEEP = -8
_LARGEST = 1.7976931348623157e308

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
    """What an Any may hold: the schema of a type's JSON, and whether it stands under `value`."""

    name: str
    schema: Schema
    under_value: bool = False


@st.composite
def instances(
    draw: st.DrawFn, schema: Schema, payloads: Sequence[Payload] = (), depth: int = 3
) -> Any:
    """Draw JSON that is valid by a schema, with what it refers to in its own `$defs`.

    An Any, which may hold what it likes, holds one of `payloads`.
    """
    return _Drawing(draw, payloads, schema.get("$defs", {})).value(schema, depth)


@dataclass(frozen=True)
class _Drawing:
    draw: st.DrawFn
    payloads: Sequence[Payload]
    definitions: dict[str, Schema]

    def value(self, schema: Schema, depth: int) -> Any:
        if depth < _TOO_DEEP:
            # A message that requires itself has no JSON that ends.
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
        if "@type" in properties and schema["additionalProperties"] is True:
            return self.any(depth)
        needed = schema.get("required", [])
        more = [name for name in properties if name not in needed]
        chosen = self.draw(st.lists(st.sampled_from(more), unique=True, max_size=4)) if more else []
        names = [*needed, *(chosen if depth > 0 else [])]
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
            for key in self.draw(st.lists(keys, max_size=2, unique=True)) if depth > 0 else ():
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


def _strings(schema: Schema) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "pattern" in schema:
        # JSON's Unicode has lone surrogates too, which no protobuf string can hold.
        alphabet = st.characters(codec="utf-8")
        return st.from_regex(schema["pattern"], fullmatch=True, alphabet=alphabet)
    return st.text(max_size=6)
