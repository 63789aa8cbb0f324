"""JSON Schema 2020-12 for the ProtoJSON of message types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    OneofDescriptor,
)

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.field_behavior import (
    alternatives,
    is_output_only,
    is_update,
    must_be_given,
)
from lro_gateway.descriptors.field_names import property_key
from lro_gateway.descriptors.json_forms import KEYS, PRINTED, SENT, Form, Schema
from lro_gateway.errors import cut, quoted_text

__all__ = ["Schema", "any_schema", "at_most_one_of", "message_schema"]

_LONGEST_OF_ENUM: Final = 600
_LONGEST_OF_FIELD: Final = 1024
_LONGEST_OF_MESSAGE: Final = 200
_NAMED_ALTERNATIVES: Final = 6


def message_schema(
    descriptor: Descriptor,
    *,
    descriptions: Mapping[str, str] | None = None,
    required: Iterable[str] = (),
    ref_prefix: str = "#/$defs/",
    definitions: dict[str, Schema] | None = None,
    for_input: bool = False,
    quoted: bool = False,
) -> Schema:
    """Return the JSON Schema of a message's ProtoJSON.

    Without `for_input`, the schema describes what the gateway prints. All JSON that the gateway
    prints for the message is valid by this schema. With `for_input`, the schema describes a
    request. The gateway can parse all JSON that is valid by this schema. The schema of a request
    has no OUTPUT_ONLY fields, and requires the REQUIRED fields. Its keys are those that providers
    of models accept (`property_key`), so it omits a field whose names all exceed 64 characters.

    The root of the schema always describes an object, and never a union such as `anyOf`. If the
    JSON of the type is not always an object, the root has that JSON in the property `value`.
    Schemas of inner messages are in `$defs`, because types may be recursive. If `definitions` is
    given, inner schemas are added to `definitions` instead, and references to them begin with
    `ref_prefix`, as for OpenAPI's components. Do not share `definitions` between updates
    (`is_update`) and other requests, because inner messages of updates have no required fields.

    `descriptions` maps the full names of fields and types to their descriptions. `required` lists
    the JSON names of further required fields. If `quoted` is set, the descriptions are texts of a
    backend, and stand in quotes.
    """
    builder = _Builder(
        descriptions or {}, ref_prefix, definitions, for_input=for_input, quoted=quoted
    )
    builder.lenient = for_input and is_update(descriptor)
    root = builder.root(descriptor, required)
    builder.finish()
    if definitions is None and builder.definitions:
        root["$defs"] = builder.definitions
    return root


def any_schema(
    descriptor: Descriptor,
    descriptions: Mapping[str, str],
    definitions: dict[str, Schema],
    *,
    ref_prefix: str = "#/$defs/",
    quoted: bool = False,
) -> Schema:
    """Return the schema of the ProtoJSON of an Any that holds a message of this type.

    The message's fields are beside `@type`. If the type has a JSON form of its own, that form is
    under `value`. Schemas of inner messages are added to `definitions`, and references to them
    begin with `ref_prefix`. `quoted` is as for `message_schema`.
    """
    builder = _Builder(descriptions, ref_prefix, definitions, for_input=False, quoted=quoted)
    name = descriptor.full_name
    under_value = name in well_known.OPAQUE
    schema = builder.in_value(descriptor) if under_value else builder.root(descriptor)
    builder.finish()
    url = {"type": "string", "pattern": f"(?:^|/){re.escape(name)}$"}
    return {**schema, "properties": {"@type": url, **schema["properties"]}, "required": ["@type"]}


class _Builder:
    """Builds the schemas of one message and of the messages inside it.

    If `lenient` is set, inner messages have no required fields. It is set for updates, because an
    update needs only the fields that its FieldMask names (AIP-203).
    """

    def __init__(
        self,
        descriptions: Mapping[str, str],
        ref_prefix: str,
        definitions: dict[str, Schema] | None,
        *,
        for_input: bool,
        quoted: bool,
    ) -> None:
        self._descriptions = descriptions
        self._ref_prefix = ref_prefix
        self._for_input = for_input
        self._quoted = quoted
        self._forms = SENT if for_input else PRINTED
        self._pending: list[Descriptor] = []
        self.definitions: dict[str, Schema] = {} if definitions is None else definitions
        self.lenient = False

    def finish(self) -> None:
        """Build the schemas of all inner messages that other schemas refer to.

        This is a loop and not a recursion, because types may nest very deep.
        """
        while self._pending:
            descriptor = self._pending.pop()
            self.definitions[descriptor.full_name] = self.object(descriptor)

    def root(self, descriptor: Descriptor, required: Iterable[str] = ()) -> Schema:
        """Return the schema of the root message."""
        name = descriptor.full_name
        if name in well_known.JSON_OBJECT:
            return dict(self._forms.well_known[name].schema)
        if name in well_known.BARE:
            return {**self.in_value(descriptor), "required": ["value"]}
        return self.object(descriptor, required, is_root=True)

    def in_value(self, descriptor: Descriptor) -> Schema:
        """Return the schema of an object that has a message's JSON under `value`."""
        value = self.message(descriptor)
        return {"type": "object", "properties": {"value": value}, "additionalProperties": False}

    def object(
        self, descriptor: Descriptor, required: Iterable[str] = (), *, is_root: bool = False
    ) -> Schema:
        """Return the schema of a message, with its fields in the order of declaration."""
        fields = [field for field in descriptor.fields if not self._is_left_out(field)]
        schema: Schema = {"type": "object"}
        if not is_root and self._for_input and (text := self._short(descriptor.full_name)):
            schema["description"] = text
        keys = {key: field for field in fields if (key := self._key(field))}
        schema["properties"] = {key: self._described(field) for key, field in keys.items()}
        required_names = dict.fromkeys(required)
        if is_root or not self.lenient:
            required_names.update((key, None) for key, f in keys.items() if self._is_required(f))
        if required_names:
            schema["required"] = list(required_names)
        if self._for_input:
            if exclusive := _exclusive(descriptor.oneofs):
                schema["dependentSchemas"] = exclusive
        elif descriptor.is_extendable:
            # The ProtoJSON key of an extension is [full.name].
            schema["patternProperties"] = {r"^\[": {}}
        schema["additionalProperties"] = False
        if without_key := [field.name for field in fields if not self._key(field)]:
            schema["additionalProperties"] = True
            also = f"It also has the fields {', '.join(without_key)}, whose names are very long."
            schema["description"] = " ".join(filter(None, [schema.get("description"), also]))
        return schema

    def _key(self, field: FieldDescriptor) -> str | None:
        """Return the key of a field: its JSON name, or in a request one that providers accept."""
        return property_key(field) if self._for_input else field.json_name

    def message(self, descriptor: Descriptor) -> Schema:
        """Return the schema of an inner message, which is usually a reference."""
        form = self._forms.well_known.get(descriptor.full_name)
        if form is not None:
            return self._form(form)
        name = descriptor.full_name
        if name not in self.definitions:
            # The name is reserved first, so that a recursive message is built once.
            self.definitions[name] = {}
            self._pending.append(descriptor)
        return {"$ref": self._ref_prefix + name}

    def _form(self, form: Form) -> Schema:
        if not form.name:
            return form.schema
        self.definitions[form.name] = form.schema
        return {"$ref": self._ref_prefix + form.name}

    def _is_left_out(self, field: FieldDescriptor) -> bool:
        return self._for_input and is_output_only(field)

    def _is_required(self, field: FieldDescriptor) -> bool:
        comment = self._descriptions.get(field.full_name, "")
        return self._for_input and must_be_given(field, comment)

    def _described(self, field: FieldDescriptor) -> Schema:
        schema = dict(self._field(field))
        sentences = [self._marked(self._descriptions.get(field.full_name, ""))]
        if self._for_input:
            if field.enum_type is not None:
                sentences.append(self._values(field.enum_type))
            if (oneof := alternatives(field)) is not None:
                sentences.append(at_most_one_of(oneof.fields, _NAMED_ALTERNATIVES))
        if description := " ".join(filter(None, sentences)):
            schema["description"] = description
        return schema

    def _field(self, field: FieldDescriptor) -> Schema:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            schema: Schema = {
                "type": "object",
                "additionalProperties": self._single(message.fields_by_name["value"]),
            }
            keys = KEYS.get(message.fields_by_name["key"].type)
            if keys is not None and self._for_input:
                schema["propertyNames"] = keys
            return schema
        single = self._single(field)
        return {"type": "array", "items": single} if field.is_repeated else single

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return _sent_enum(field.enum_type) if self._for_input else _enum(field.enum_type)
        return self._form(self._forms.scalars[field.type])

    def _short(self, name: str) -> str:
        """Return the description of a type in at most 200 characters.

        A longer description is reduced to its first sentence.
        """
        text = self._descriptions.get(name, "")
        if len(text) > _LONGEST_OF_MESSAGE and ". " in text:
            text = text.partition(". ")[0] + "."
        return self._marked(cut(text, _LONGEST_OF_MESSAGE))

    def _values(self, descriptor: EnumDescriptor) -> str:
        """Return the comments on an enum's values, or empty text if they exceed 600 characters."""
        comments = [
            f"{value.name}: {text}"
            for value in descriptor.values
            if (text := self._descriptions.get(f"{descriptor.full_name}.{value.name}"))
        ]
        text = " ".join(comments)
        return self._marked(text) if len(text) <= _LONGEST_OF_ENUM else ""

    def _marked(self, text: str) -> str:
        return quoted_text(text, _LONGEST_OF_FIELD) if text and self._quoted else text


def at_most_one_of(fields: Iterable[FieldDescriptor], most: int) -> str:
    """Return the sentence that forbids two fields of a oneof. It names the first `most` fields."""
    names = [property_key(field) or field.name for field in fields]
    if len(names) > most:
        names = [*names[:most], "..."]
    return f"Give at most one of: {', '.join(names)}."


def _exclusive(oneofs: Iterable[OneofDescriptor]) -> dict[str, Schema]:
    """Return for each field of a oneof a schema that forbids the later fields of that oneof.

    These schemas take the place of a union such as `oneOf`, because some clients refuse a union at
    the root.
    """
    absent: dict[str, Schema] = {}
    for oneof in oneofs:
        names = [key for field in oneof.fields if (key := property_key(field))]
        for index, name in enumerate(names[:-1], 1):
            absent[name] = {"properties": dict.fromkeys(names[index:], False)}
    return absent


def _enum(descriptor: EnumDescriptor) -> Schema:
    if descriptor.full_name == well_known.NULL_VALUE:
        return {"type": ["null", "integer"]}
    # An enum value is printed as a number if it is unknown, or if the caller asks for numbers.
    names = {"type": "string", "enum": [value.name for value in descriptor.values]}
    return {"anyOf": [names, {"type": "integer"}]}


def _sent_enum(descriptor: EnumDescriptor) -> Schema:
    return {"type": "string", "enum": [value.name for value in descriptor.values]}
