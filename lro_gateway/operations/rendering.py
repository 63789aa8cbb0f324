"""The JSON of one Operation message, which is made once and shared by all readers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson

from lro_gateway.descriptors.printing import JsonOptions
from lro_gateway.errors import JSON

_INDENTED: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True)
class JsonText:
    """JSON text, encoded in UTF-8."""

    content: bytes

    @classmethod
    def of(cls, value: Any, *, indented: bool) -> JsonText:
        """Return the text of a JSON value, on one line unless it is `indented`."""
        return cls(orjson.dumps(value, option=_INDENTED if indented else None))

    @cached_property
    def tag(self) -> str:
        """A digest of the content in hexadecimal digits, for an ETag."""
        return hashlib.blake2b(self.content, digest_size=12).hexdigest()


@dataclass(slots=True)
class Rendering:
    """The JSON of one Operation message, in every form that a reader has requested so far."""

    values: dict[JsonOptions, JSON] | None = None
    texts: dict[tuple[JsonOptions, bool], JsonText] | None = None
    """Both are None until they are needed, because most watched operations are never rendered."""
