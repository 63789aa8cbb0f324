"""Message descriptors to JSON Schema 2020-12: the shape of their ProtoJSON."""

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
from lro_gateway.descriptors.field_behavior import alternatives, is_output_only, is_required
from lro_gateway.descriptors.json_forms import KEYS, PRINTED, SENT, Form, Schema
from lro_gateway.errors import cut

__all__ = ["Schema", "any_schema", "is_update", "message_schema"]

_LONGEST_OF_ENUM: Final = 600
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
) -> Schema:
    """Return the schema of a message's ProtoJSON; its root is always `"type": "object"`.

    What is printed is valid by it; with `for_input` what is valid by it can be parsed: there fields
    that are OUTPUT_ONLY by field_behavior are left out and those that are REQUIRED are required.
    `descriptions` are by full name; `required` adds JSON names. Messages inside go to `$defs`, so
    recursion ends; with `definitions` they go there instead, referred to by `ref_prefix` (OpenAPI's
    components); updates (`is_update`) need definitions of their own, as they require less inside.
    No union stands at the root; a type whose JSON is no object is in its `value`.
    """
    builder = _Builder(descriptions or {}, ref_prefix, definitions, for_input=for_input)
    builder.lenient = for_input and is_update(descriptor)
    root = builder.root(descriptor, required)
    builder.finish()
    if definitions is None and builder.definitions:
        root["$defs"] = builder.definitions
    return root


def is_update(descriptor: Descriptor) -> bool:
    """Tell whether a request says in a FieldMask which fields it brings (AIP-134)."""
    return any(_is_mask(field) for field in descriptor.fields)


def any_schema(
    descriptor: Descriptor,
    descriptions: Mapping[str, str],
    definitions: dict[str, Schema],
    *,
    ref_prefix: str = "#/$defs/",
) -> Schema:
    """Return the schema of what is printed of an Any that holds this type.

    It has the message's fields beside `@type`, or its JSON under `value` where the type has a form
    of its own. Messages inside go to `definitions`, referred to by `ref_prefix`.
    """
    builder = _Builder(descriptions, ref_prefix, definitions, for_input=False)
    name = descriptor.full_name
    under_value = name in well_known.OPAQUE
    schema = builder.in_value(descriptor) if under_value else builder.root(descriptor)
    builder.finish()
    url = {"type": "string", "pattern": f"(?:^|/){re.escape(name)}$"}
    return {**schema, "properties": {"@type": url, **schema["properties"]}, "required": ["@type"]}


class _Builder:
    """Builds the schema of one message and of those that it reaches.

    `lenient` leaves out what nested messages require: an update names in its FieldMask which
    fields it brings, and AIP-203 does not want the others.
    """

    def __init__(
        self,
        descriptions: Mapping[str, str],
        ref_prefix: str,
        definitions: dict[str, Schema] | None,
        *,
        for_input: bool,
    ) -> None:
        self._descriptions = descriptions
        self._ref_prefix = ref_prefix
        self._for_input = for_input
        self._forms = SENT if for_input else PRINTED
        self._pending: list[Descriptor] = []
        self.definitions: dict[str, Schema] = {} if definitions is None else definitions
        self.lenient = False

    def finish(self) -> None:
        """Build what was referred to; by a list, as types may nest deeper than Python's stack."""
        while self._pending:
            descriptor = self._pending.pop()
            self.definitions[descriptor.full_name] = self.object(descriptor)

    def root(self, descriptor: Descriptor, required: Iterable[str] = ()) -> Schema:
        """Return the schema of the message that all begins with."""
        name = descriptor.full_name
        if name in well_known.FREE:
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
        """Return the schema of a message, its fields in the order of their declaration."""
        fields = [field for field in descriptor.fields if not self._is_left_out(field)]
        schema: Schema = {"type": "object"}
        if not is_root and self._for_input and (text := self._short(descriptor.full_name)):
            schema["description"] = text
        schema["properties"] = {field.json_name: self._described(field) for field in fields}
        needed = dict.fromkeys(required)
        if is_root or not self.lenient:
            needed.update((f.json_name, None) for f in fields if self._is_required(f))
        if needed:
            schema["required"] = list(needed)
        if self._for_input:
            if exclusive := _exclusive(descriptor.oneofs):
                schema["dependentSchemas"] = exclusive
        elif descriptor.is_extendable:
            # ProtoJSON names an extension [full.name].
            schema["patternProperties"] = {r"^\[": {}}
        schema["additionalProperties"] = False
        return schema

    def message(self, descriptor: Descriptor) -> Schema:
        """Return the schema of a message inside another, most often a reference."""
        form = self._forms.well_known.get(descriptor.full_name)
        if form is not None:
            return self._form(form)
        name = descriptor.full_name
        if name not in self.definitions:
            # Taken before it is built, so that a message that holds itself ends here.
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
        """Tell whether a request must have a field; a member of a oneof never must."""
        if not self._for_input:
            return False
        return is_required(field) and alternatives(field) is None

    def _described(self, field: FieldDescriptor) -> Schema:
        schema = dict(self._field(field))
        said = [self._descriptions.get(field.full_name, "")]
        if self._for_input:
            if field.enum_type is not None:
                said.append(self._values(field.enum_type))
            if (oneof := alternatives(field)) is not None:
                said.append(_say_alternatives(oneof))
        if description := " ".join(filter(None, said)):
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
        """Return the description of a name if it is short; otherwise its first sentence, cut."""
        text = self._descriptions.get(name, "")
        if len(text) > _LONGEST_OF_MESSAGE and ". " in text:
            text = text.partition(". ")[0] + "."
        return cut(text, _LONGEST_OF_MESSAGE)

    def _values(self, descriptor: EnumDescriptor) -> str:
        """Say what an enum's values mean, if that is not long."""
        told = [
            f"{value.name}: {text}"
            for value in descriptor.values
            if (text := self._descriptions.get(f"{descriptor.full_name}.{value.name}"))
        ]
        text = " ".join(told)
        return text if len(text) <= _LONGEST_OF_ENUM else ""


def _is_mask(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == well_known.FIELD_MASK


def _say_alternatives(oneof: OneofDescriptor) -> str:
    names = [field.json_name for field in oneof.fields]
    if len(names) > _NAMED_ALTERNATIVES:
        names = [*names[:_NAMED_ALTERNATIVES], "..."]
    return f"Give at most one of: {', '.join(names)}."


def _exclusive(oneofs: Iterable[OneofDescriptor]) -> dict[str, Schema]:
    """Return which fields must be absent where one is present: later ones of the same oneof.

    A schema of its own for each field, as clients refuse unions beside a root's properties.
    """
    absent: dict[str, Schema] = {}
    for oneof in oneofs:
        names = [field.json_name for field in oneof.fields]
        for index, name in enumerate(names[:-1], 1):
            absent[name] = {"properties": dict.fromkeys(names[index:], False)}
    return absent


def _enum(descriptor: EnumDescriptor) -> Schema:
    if descriptor.full_name == well_known.NULL_VALUE:
        return {"type": ["null", "integer"]}
    # A number stands for a value that this descriptor does not know yet, or is printed on request.
    names = {"type": "string", "enum": [value.name for value in descriptor.values]}
    return {"anyOf": [names, {"type": "integer"}]}


def _sent_enum(descriptor: EnumDescriptor) -> Schema:
    return {"type": "string", "enum": [value.name for value in descriptor.values]}
