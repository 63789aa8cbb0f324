"""The JSON keys of the fields of a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

_PROPERTY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Matches the property keys that every provider of models accepts in the schema of a tool."""


def fields_by_key(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """Return the fields of a message by every key that names one of them in JSON.

    The keys are the JSON names and the fields' own names. protobuf refuses a message in which a key
    would name two fields.
    """
    fields = descriptor.fields
    return {key: field for field in fields for key in (field.name, field.json_name)}


def property_key(field: FieldDescriptor) -> str | None:
    """Return the key of a field in the schema of a request.

    The key is the JSON name. If a provider would refuse the JSON name, such as `$filter`, the key
    is the field's own name, which the gateway reads as well. The result is None if neither has at
    most 64 characters.
    """
    return next(filter(_PROPERTY.fullmatch, (field.json_name, field.name)), None)
