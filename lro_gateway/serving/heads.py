"""What the head of a request may be: its version, its target, its headers, and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lro_gateway.config.limits import LimitsConfig
from lro_gateway.serving.hosts import host_problem
from lro_gateway.serving.refusals import (
    Refusal,
    bad_request,
    headers_too_large,
    target_too_large,
)

PROBES: Final = frozenset({b"/livez", b"/readyz", b"/healthz/operations"})
"""The paths that any client may request, at any Host, even if it is over a limit."""
NOT_HTTP: Final = "the request is not valid HTTP/1.1, or not HTTP at all"
_VERSIONS: Final = frozenset({"1.1", "1.0"})

Headers = Sequence[tuple[bytes, bytes]]
"""The names, in lower case, and the values of the headers of a request."""


def head_refusal(
    limits: LimitsConfig, version: str, target: bytes, headers: Headers, *, most: int
) -> Refusal | None:
    """Return why a head is refused, if it is. It has at most `most` bytes."""
    if version not in _VERSIONS:
        return bad_request(NOT_HTTP)
    if len(target) > limits.max_target_bytes:
        return target_too_large(limits.max_target_bytes, "limits.max_target_bytes")
    if most > limits.max_header_bytes and _size(target, headers) > limits.max_header_bytes:
        return head_too_large(limits)
    if len(headers) > limits.max_headers:
        return headers_too_large(limits.max_headers, "lines", "limits.max_headers")
    return None


def host_refusal(target: bytes, headers: Headers, hosts: int) -> Refusal | None:
    """Return why a head is refused because of its Host, which it has so many times."""
    is_usual = hosts == 1 and target.startswith(b"/")
    if not is_usual and (problem := host_problem(target, headers)):
        return bad_request(problem)
    return None


def head_too_large(limits: LimitsConfig) -> Refusal:
    """Return the refusal of a head that has too many bytes."""
    return headers_too_large(limits.max_header_bytes, "bytes", "limits.max_header_bytes")


def _size(target: bytes, headers: Headers) -> int:
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
