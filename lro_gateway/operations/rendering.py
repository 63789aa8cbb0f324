"""The JSON of one message, kept so that it is made once for all its readers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import orjson

from lro_gateway.descriptors.printing import JsonOptions
from lro_gateway.errors import JSON

_INDENTED: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True)
class JsonText:
    """JSON as bytes of UTF-8."""

    content: bytes

    @classmethod
    def of(cls, value: Any, *, indented: bool) -> JsonText:
        """Return the text of a JSON value."""
        return cls(orjson.dumps(value, option=_INDENTED if indented else None))

    @cached_property
    def tag(self) -> str:
        """A digest of the content, for an ETag."""
        return hashlib.blake2b(self.content, digest_size=12).hexdigest()


@dataclass(slots=True)
class Rendering:
    """The JSON of one Operation message in each form that a reader has asked for."""

    values: dict[JsonOptions, JSON] = field(default_factory=dict)
    texts: dict[tuple[JsonOptions, bool], JsonText] = field(default_factory=dict)
