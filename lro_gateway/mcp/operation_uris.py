"""The URIs of operations as resources, `operation://{backend}/{+name}`, and ranges in URIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote as percent_encode
from urllib.parse import unquote

from lro_gateway.operations.names import is_relative
from lro_gateway.operations.operation import Operation
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest

TEMPLATE: Final = "operation://{backend}/{+name}"
_SCHEME: Final = "operation://"
_RESERVED: Final = ":/?#[]@!$&'()*+,;=-._~"
"""The punctuation that `{+name}` does not encode (RFC 6570).

`%` is not included, so that decoding the URI gives exactly the name that was encoded.
"""
_RANGE: Final = frozenset({"offset", "limit"})
_MOST_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a text: where it begins, and its longest length, in characters."""

    offset: int = 0
    limit: int | None = None


def uri_of(service: OperationService, operation: Operation) -> str:
    """Return the URI of an operation."""
    name = name_in_uri(service, operation)
    # Clients may normalize a URI, which would change a name such as `//b/a/../c`. An encoded slash
    # does not separate segments, so such a name stays as it is.
    safe = _RESERVED if is_relative(name) else _RESERVED.replace("/", "")
    if split_range(name)[1] is not None:
        safe = safe.replace("?", "")
    return f"{_SCHEME}{operation.backend}/{percent_encode(name, safe=safe)}"


def name_in_uri(service: OperationService, operation: Operation) -> str:
    """Return the name that stands for an operation in its URI."""
    return service.router.name_within(operation.backend, operation.name)


def split_range(uri: str) -> tuple[str, Range | None]:
    """Return a URI without the range in its query, and the range, or None if it has none.

    The query is `?offset=`, `?limit=` or both, with whole numbers.
    """
    base, _, query = uri.rpartition("?")
    pairs = [pair.partition("=")[::2] for pair in query.split("&")]
    given = {key: int(value) for key, value in pairs if _is_number(value)}
    if not base or len(given) != len(pairs) or not given.keys() <= _RANGE:
        return uri, None
    return base, Range(given.get("offset", 0), given.get("limit"))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def request_of(uri: str) -> NameRequest | None:
    """Return a request for the operation that a URI names, or None for any other URI."""
    backend, slash, name = uri.removeprefix(_SCHEME).partition("/")
    if not uri.startswith(_SCHEME) or not (backend and slash and name):
        return None
    try:
        return NameRequest(unquote(name, errors="strict"), backend)
    except UnicodeDecodeError:
        return None
