"""The JSON of one Operation message, which is made once and shared by all readers."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson

from lro_gateway.descriptors.printing import JsonOptions
from lro_gateway.errors import JSON
from lro_gateway.operations.progress import Details

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

    def with_tag(self) -> JsonText:
        """Return the text after its tag is made, because the digest of a long text takes time."""
        _ = self.tag
        return self


@dataclass(slots=True)
class Rendering:
    """The JSON of one Operation message, in every form that a reader has requested so far.

    It also has what was read of the message's metadata, and the memory that all of this needs.
    """

    values: dict[JsonOptions, JSON] | None = None
    texts: dict[tuple[JsonOptions, bool], JsonText] | None = None
    """Both are None until they are needed, because most watched operations are never rendered."""
    details: Details | None = None
    """The progress in the metadata, or None before the metadata was read."""
    size: int | None = None
    """The size of the message in bytes of its wire format, or None before it was measured."""
    _counted: int = 0
    _uncounted: tuple[JSON | JsonText, ...] = ()

    @property
    def held(self) -> int:
        """The size in bytes of the values and texts in memory.

        Each of them is counted when this is first needed, because most states are never kept.
        """
        for each in self._uncounted:
            self._counted += len(each.content) if isinstance(each, JsonText) else memory_of(each)
        self._uncounted = ()
        return self._counted

    @property
    def is_counted(self) -> bool:
        """Whether nothing has been kept since `held` was last read."""
        return not self._uncounted

    def keep_value(self, options: JsonOptions, value: JSON) -> None:
        """Keep the JSON of the message."""
        if self.values is None:
            self.values = {}
        self.values[options] = value
        self._uncounted += (value,)

    def keep_text(self, options: JsonOptions, text: JsonText, *, indented: bool) -> None:
        """Keep the text of the JSON."""
        if self.texts is None:
            self.texts = {}
        self.texts[options, indented] = text
        self._uncounted += (text,)


def memory_of(value: Any) -> int:
    """Return the number of bytes that a JSON value needs in memory."""
    total, pending = 0, [value]
    while pending:
        each = pending.pop()
        total += sys.getsizeof(each)
        if isinstance(each, dict):
            pending.extend(each.keys())
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)
    return total
