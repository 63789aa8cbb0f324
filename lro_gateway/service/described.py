"""Which declaration describes a method that several backends declare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.shapes import has_same_messages

Declared = tuple[str, Method]
"""The name of a backend, and the method as this backend declares it."""

_OTHER_MESSAGES: Final = (
    "{} has other messages than that of backend {!r},"
    " whose messages the tool and the routes describe"
)
_OTHER_RULES: Final = (
    "{} has other google.api.http rules than that of backend {!r}, whose rules the routes follow"
)


def describing(found: Sequence[Declared]) -> Declared:
    """Return the first declaration with google.api.http rules or operation_info, or the first.

    Reflection of some servers, such as those of Node.js, does not keep these options. A backend
    that lacks rules must not take the routes from another one.
    """
    return next((each for each in found if _is_annotated(each[1])), found[0])


def differences(found: Sequence[Declared]) -> Iterator[tuple[str, str]]:
    """Yield the name of each backend that declares the method differently, and the difference."""
    first, described = describing(found)
    for name, method in found:
        if name == first:
            continue
        if not has_same_messages(described, method):
            yield name, _OTHER_MESSAGES.format(method.path, first)
        if method.bindings and method.bindings != described.bindings:
            yield name, _OTHER_RULES.format(method.path, first)


def _is_annotated(method: Method) -> bool:
    return bool(method.bindings or method.response_type or method.metadata_type)
