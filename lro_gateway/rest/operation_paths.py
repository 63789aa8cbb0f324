"""Reads a path by the templates of google.longrunning.Operations.

These are the templates, under any version, with `cancel`, `wait` or `watch` as custom verb:

    /v1/{name=**/operations/*}      /v1/{name=operations/**}      /v1/{name=**}/operations

Names need not contain `operations`, so Operations also has the path of every name for which no
method has a route.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from lro_gateway.rest.parameters import NAME_IN_FIELD

OPERATION_VERBS: Final = {
    "": ("GET", "HEAD", "DELETE"),
    "cancel": ("POST",),
    "wait": ("POST",),
    "watch": ("GET", "HEAD"),
}
"""The HTTP verbs of Operations, by the custom verb at the end of a path."""

_MINE: Final = b"/operations:mine"
_OF_LISTS: Final = ("GET", "HEAD")
VERSION: Final = "v[1-9][0-9]*(?:p[1-9][0-9]*)?(?:(?:alpha|beta)[0-9]*)?"
"""Matches the version at the start of a path of Operations, such as v1, v2 or v1beta1."""
_VERSIONED: Final = re.compile(f"/{VERSION}(?=/)".encode())
_ENCODED_WHOLE: Final = re.compile(f"/{VERSION}/[^/?]*%2[Ff]".encode())
"""Matches a path whose first segment after the version has an encoded slash."""
_ENCODED_SLASH: Final = re.compile(b"%2[Ff]")
_COLLECTION: Final = b"/operations"
_FULL_NAMES: Final = (b"//", b"/-/backends/")
_REMOVED: Final = frozenset({".", ".."})
"""Segments that clients remove from a path."""
_IN_FIELD: Final = f"/{NAME_IN_FIELD}".encode()


@dataclass(slots=True)
class OperationPath:
    """A path that begins with a version.

    `custom_verb` is a key of `OPERATION_VERBS`. `at` is the index, among the path's segments, of
    the segment `operations` that makes the path one of Operations. `at` is None if the path has no
    such segment. `last` is the index of the last segment. A list has the segment `operations` at
    its end. `is_full` is true if the path has a full name, which names its backend. No method has
    such a path. `is_in_field` is true if the path has `-` in place of a name.
    """

    custom_verb: str
    at: int | None
    last: int
    is_full: bool = False
    is_in_field: bool = False

    @property
    def is_list(self) -> bool:
        """Whether the path is that of a collection of operations, such as `/v1/operations`."""
        return self.at == self.last

    @property
    def verbs(self) -> tuple[str, ...]:
        """The HTTP verbs that Operations has for this path."""
        of_list = self.is_list and not self.custom_verb
        return _OF_LISTS if of_list else OPERATION_VERBS[self.custom_verb]


def path_of(name: str) -> str:
    """Return the path at which an operation is read.

    The name is in the query if a client or the gateway would take its path for another one.
    """
    segments = name.split("/")
    is_another = segments[-1] == "operations" or segments[0] == "webhooks" or name == NAME_IN_FIELD
    is_in_query = is_another or not _REMOVED.isdisjoint(segments)
    return f"/v1/{f'{NAME_IN_FIELD}?name=' if is_in_query else ''}{quote(name, safe='/')}"


def decoded_whole(raw_path: bytes) -> bytes | None:
    """Return a path with the slashes of a name that the client has encoded whole, or None.

    Clients that are made from an OpenAPI document encode each parameter whole, and so they send
    `/v1/databases%2Forders/operations`. The first segment of a name is a collection, and no
    collection has a slash. Nothing is decoded twice, and `%2F` in later segments stays.
    """
    if b"%2" not in raw_path or _ENCODED_WHOLE.match(raw_path) is None:
        return None
    path, query, parameters = raw_path.partition(b"?")
    empty, version, first, *rest = path.split(b"/", 3)
    decoded = b"/".join([empty, version, _ENCODED_SLASH.sub(b"/", first), *rest])
    return decoded + query + parameters


def is_mine(raw_path: bytes) -> bool:
    """Return whether a path lists the caller's own starts, such as `/v1/operations:mine`.

    No method and no operation has this path.
    """
    if not raw_path.endswith(_MINE):
        return False
    version = _VERSIONED.match(raw_path)
    return version is not None and raw_path[version.end() :] == _MINE


def operation_path(raw_path: bytes) -> OperationPath | None:
    """Return the meaning of a percent-encoded path, or None if it does not begin with a version.

    Clients never encode a version. An encoded colon belongs to a name. `decoded_whole` has restored
    encoded slashes.
    """
    matched = _VERSIONED.match(raw_path)
    if matched is None:
        return None
    resource = raw_path[matched.end() :]
    if b"?" in resource:
        resource = resource.partition(b"?")[0]
    custom_verb = ""
    if b":" in resource:
        shorter, _, verb = resource.rpartition(b":")
        if (text := verb.decode("ascii", "replace")) in OPERATION_VERBS and text:
            resource, custom_verb = shorter, text
    last = resource.count(b"/")
    is_full = resource.startswith(_FULL_NAMES)
    if resource.endswith(_COLLECTION):
        return OperationPath(custom_verb, last, last, is_full)
    if resource.rpartition(b"/")[0].endswith(_COLLECTION):
        return OperationPath(custom_verb, last - 1, last, is_full)
    at = 1 if resource.startswith(b"/operations/") else None
    return OperationPath(custom_verb, at, last, is_full, resource == _IN_FIELD)
