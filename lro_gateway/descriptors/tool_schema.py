"""The JSON Schema of a tool's arguments: all that a model needs to fill in a request, and no more.

The gateway checks arguments itself, so this schema says in words what a JSON Schema could also
enforce, such as the fields of a oneof. Providers of models, and the programs that convert tools for
them, refuse or misread many keywords. One of them refuses all tools of a session because of one
boolean schema, and others cannot follow references. So the schema has only the keywords `type`,
`properties`, `required`, `items`, `enum`, `description`, the format `date-time`, and
`additionalProperties` with the schema of a map's values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

import orjson
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    OneofDescriptor,
)

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.comments import first_sentences
from lro_gateway.descriptors.enums import sent_names, sent_values
from lro_gateway.descriptors.field_behavior import (
    alternatives,
    is_output_only,
    is_required,
    is_update,
    must_be_given,
)
from lro_gateway.descriptors.field_names import property_key
from lro_gateway.descriptors.json_forms import Schema
from lro_gateway.descriptors.message_types import is_map
from lro_gateway.descriptors.schema import at_most_one_of
from lro_gateway.descriptors.tool_forms import KEYS, SCALARS, WELL_KNOWN, ToolForm
from lro_gateway.errors import quoted_text

_LONGEST_OF_FIELD: Final = 200
_LONGEST_OF_ENUM: Final = 300
"""The maximum lengths of the comment on a field, and of those on the values of an enum together."""
_LONGEST_OF_TYPE: Final = 200
"""The maximum length of the comment on a type that is not reduced to its first sentence."""
_REPEATED_BYTES: Final = 300
"""The maximum size of a schema that stands at each field of its type. A larger one stands once."""
_MAX_DEPTH: Final = 16
"""Levels of messages. The fields of deeper messages are not shown, which no API in use needs."""
_NAMED_ALTERNATIVES: Final = 12
_LABELS: Final = {
    True: re.compile(r"\A(?:required[.:]\s+)+", re.IGNORECASE),
    False: re.compile(r"\A(?:optional[.:]\s+)+", re.IGNORECASE),
}
"""Matches the first words of a comment on a field that is annotated as required, or that is not.

They repeat what the schema says.
"""


def tool_schema(
    descriptor: Descriptor,
    *,
    descriptions: Mapping[str, str],
    required: Iterable[str] = (),
    quoted: bool = False,
) -> Schema:
    """Return the schema of a request as the arguments of a tool.

    All JSON that is valid by `message_schema` for the request is valid by this schema too, except
    the first value of an enum if its name ends with `_UNSPECIFIED`. The schema has no references.
    A message type that is used again, and is not small, is an object whose description says where
    the schema of the type stands. The same is true of a type that holds itself.

    The parameters are as for `message_schema`.
    """
    return _Builder(descriptions, quoted=quoted, lenient=is_update(descriptor)).root(
        descriptor, required
    )


class _Builder:
    """Builds the schema of one request.

    If `lenient` is set, inner messages have no required fields, because an update needs only the
    fields that its FieldMask names (AIP-203).
    """

    def __init__(self, descriptions: Mapping[str, str], *, quoted: bool, lenient: bool) -> None:
        self._descriptions = descriptions
        self._quoted = quoted
        self._lenient = lenient
        self._path_of: dict[str, str] = {}
        self._small: dict[str, Schema] = {}

    def root(self, descriptor: Descriptor, required: Iterable[str]) -> Schema:
        name = descriptor.full_name
        if name in well_known.BARE:
            schema, text = self._message(descriptor, ("value",))
            value = _described(schema, text)
            return {"type": "object", "properties": {"value": value}, "required": ["value"]}
        if name in well_known.JSON_OBJECT:
            return {"type": "object", "properties": {}}
        self._path_of[name] = ""
        return self._object(descriptor, (), required)

    def _object(
        self, descriptor: Descriptor, path: tuple[str, ...], required: Iterable[str] = ()
    ) -> Schema:
        fields = [field for field in descriptor.fields if not is_output_only(field)]
        keys = {key: field for field in fields if (key := property_key(field))}
        schema: Schema = {"type": "object"}
        if without_key := [field.name for field in fields if not property_key(field)]:
            schema["description"] = (
                f"It also has the fields {', '.join(without_key)}, whose names are very long."
            )
        schema["properties"] = {
            key: self._property(field, (*path, key)) for key, field in keys.items()
        }
        needed = dict.fromkeys(required)
        if not path or not self._lenient:
            needed.update((key, None) for key, field in keys.items() if self._is_required(field))
        if needed:
            schema["required"] = list(needed)
        return schema

    def _property(self, field: FieldDescriptor, path: tuple[str, ...]) -> Schema:
        schema, text = self._field(field, path)
        comment = self._descriptions.get(field.full_name) or self._type_comment(field)
        comment = _LABELS[is_required(field)].sub("", comment)
        sentences = [self._marked(comment, _LONGEST_OF_FIELD), text]
        if field.enum_type is not None:
            sentences.append(self._values(field.enum_type))
        if (oneof := alternatives(field)) is not None:
            sentences.append(_alternatives_text(field, oneof))
        return _described(schema, " ".join(filter(None, sentences)))

    def _type_comment(self, field: FieldDescriptor) -> str:
        """Return the comment on a message type. A long one is reduced to its first sentence."""
        kind = field.message_type
        if kind is None or kind.full_name in WELL_KNOWN:
            return ""
        comment = self._descriptions.get(kind.full_name, "")
        if len(comment) > _LONGEST_OF_TYPE and ". " in comment:
            comment = comment.partition(". ")[0] + "."
        return comment

    def _field(self, field: FieldDescriptor, path: tuple[str, ...]) -> ToolForm:
        """Return the schema of a field, and what a model must know beside the field's comment."""
        if is_map(field):
            entry = cast("Descriptor", field.message_type).fields_by_name
            keys, value = entry["key"], entry["value"]
            values, text = self._single(value, path)
            words = " ".join(filter(None, [KEYS.get(keys.type, ""), text]))
            # An object without the keyword allows any value.
            is_any = value.message_type is not None and (
                value.message_type.full_name == well_known.VALUE
            )
            return {"type": "object", **({} if is_any else {"additionalProperties": values})}, words
        schema, text = self._single(field, path)
        return ({"type": "array", "items": schema} if field.is_repeated else schema), text

    def _single(self, field: FieldDescriptor, path: tuple[str, ...]) -> ToolForm:
        if field.message_type is not None:
            return self._message(field.message_type, path)
        if field.enum_type is not None:
            return {"type": "string", "enum": sent_names(field.enum_type)}, ""
        return SCALARS[field.type]

    def _message(self, descriptor: Descriptor, path: tuple[str, ...]) -> ToolForm:
        name = descriptor.full_name
        if (form := WELL_KNOWN.get(name)) is not None:
            return form
        if (small := self._small.get(name)) is not None:
            return small, ""
        if (known := self._path_of.get(name)) is not None:
            return {"type": "object"}, f"Same fields as {known or 'the arguments'}."
        if len(path) > _MAX_DEPTH:
            return {"type": "object"}, f"It is a {name}."
        self._path_of[name] = ".".join(path)
        schema = self._object(descriptor, path)
        if len(orjson.dumps(schema)) <= _REPEATED_BYTES:
            self._small[name] = schema
        return schema, ""

    def _is_required(self, field: FieldDescriptor) -> bool:
        return must_be_given(field, self._descriptions.get(field.full_name, ""))

    def _values(self, descriptor: EnumDescriptor) -> str:
        """Return the comments on an enum's values, or empty text if they are long."""
        comments = [
            f"{value.name}: {text}"
            for value in sent_values(descriptor)
            if (text := self._descriptions.get(f"{descriptor.full_name}.{value.name}"))
        ]
        text = " ".join(comments)
        return self._marked(text, _LONGEST_OF_ENUM) if len(text) <= _LONGEST_OF_ENUM else ""

    def _marked(self, text: str, limit: int) -> str:
        text = first_sentences(text, limit)
        return quoted_text(text, limit) if text and self._quoted else text


def _described(schema: Schema, text: str) -> Schema:
    """Return a copy of a schema with a description before its own."""
    description = " ".join(filter(None, [text, schema.get("description")]))
    return {**schema, **({"description": description} if description else {})}


def _alternatives_text(field: FieldDescriptor, oneof: OneofDescriptor) -> str:
    """Return the sentence on a oneof, which only the first of its fields gets."""
    fields = [each for each in oneof.fields if not is_output_only(each)]
    if len(fields) < 2 or field.name != fields[0].name:
        return ""
    return at_most_one_of(fields, _NAMED_ALTERNATIVES)
