"""google.api.HttpBody, which holds bytes of any content type that are not JSON."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from lro_gateway.descriptors.message_types import descriptor_of
from lro_gateway.errors import JSON

HTTP_BODY: Final = "google.api.HttpBody"

_BINARY: Final = "application/octet-stream"
_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}"
_MEDIA_TYPE: Final = re.compile(
    rf'{_NAME}/{_NAME}(?:[ \t]*;[ \t]*{_NAME}=(?:{_NAME}|"[ !#-\[\]-~]{{0,200}}"))*'
)
_LONGEST_TYPE: Final = 500
_TEXT: Final = re.compile(
    r"text/.*|[a-z]+/(?:.*\+)?(?:json|xml|yaml)|application/(?:javascript|sql|x-ndjson|x-yaml|toml)"
)
_IMAGES: Final = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})


@dataclass(frozen=True, slots=True)
class RawBody:
    """The bytes of an HttpBody and their content type, which is always a valid media type."""

    content_type: str
    data: bytes

    @classmethod
    def of(cls, message: Any) -> RawBody:
        """Return the body in a message. A content type that is empty or malformed is binary."""
        given = message.content_type.strip()
        is_valid = len(given) <= _LONGEST_TYPE and _MEDIA_TYPE.fullmatch(given)
        return cls(given if is_valid else _BINARY, message.data)

    @property
    def is_image(self) -> bool:
        """Whether the body is an image of a type that every provider of models accepts."""
        return self._essence in _IMAGES

    @property
    def _essence(self) -> str:
        """The content type without parameters."""
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def text(self) -> str | None:
        """The body as text, or None if the content type is not textual or the bytes not UTF-8."""
        if not _TEXT.fullmatch(self._essence):
            return None
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None


def bodies(message: Message) -> Iterator[RawBody]:
    """Yield the HttpBody that a message is, or those that its fields hold."""
    if descriptor_of(message).full_name == HTTP_BODY:
        yield RawBody.of(message)
        return
    for field, value in message.ListFields():
        if holds_body(field):
            yield RawBody.of(value)


def holds_body(field: FieldDescriptor) -> bool:
    """Return whether a field holds one HttpBody."""
    kind = field.message_type
    return kind is not None and kind.full_name == HTTP_BODY and not field.is_repeated


def body_field(request: Descriptor) -> FieldDescriptor | None:
    """Return the one field of a request to which a raw HTTP body is bound, or None.

    This is the field of type HttpBody (google/api/httpbody.proto). If a request has several such
    fields, the raw body is bound to none of them.
    """
    fields = [field for field in request.fields if holds_body(field)]
    return fields[0] if len(fields) == 1 else None


def body_json(content_type: str, data: bytes) -> JSON:
    """Return the ProtoJSON of an HttpBody."""
    typed = {"contentType": content_type} if content_type else {}
    return {**typed, "data": base64.b64encode(data).decode()}
