"""The details of a google.rpc.Status as lines for a person (google/rpc/error_details.proto)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import yaml

_PACKAGE: Final = "google.rpc"
_BYTES: Final = "@value"
"""The key of the bytes of a detail that cannot be printed."""
_MAX_LINES: Final = 12
"""The number of lines of one detail of another type."""

Detail = Mapping[str, Any]


def lines_of(details: Iterable[Detail]) -> list[str]:
    """Return the lines of all details. A detail of another type is shown as YAML."""
    lines: list[str] = []
    for detail in details:
        package, _, name = str(detail.get("@type", "")).rpartition("/")[2].rpartition(".")
        # A service may have a message `ErrorInfo` of its own, and a detail that cannot be read has
        # only its bytes.
        is_known = package == _PACKAGE and _BYTES not in detail
        describe = _DESCRIBED.get(name) if is_known else None
        lines += describe(detail) if describe else _other(name, detail)
    return lines


def _other(name: str, detail: Detail) -> Iterator[str]:
    content = {key: value for key, value in detail.items() if key != "@type"}
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    lines = text.rstrip("\n").split("\n")
    yield f"{name or 'Detail'}:"
    yield from (f"  {line}" for line in lines[:_MAX_LINES])
    if len(lines) > _MAX_LINES:
        yield f"  ... and {len(lines) - _MAX_LINES} more lines; --raw shows all"


def _error_info(detail: Detail) -> Iterator[str]:
    domain = f" ({detail['domain']})" if detail.get("domain") else ""
    yield f"Reason: {detail.get('reason', '')}{domain}"
    for key, value in (detail.get("metadata") or {}).items():
        yield f"  {key}: {value}"


def _bad_request(detail: Detail) -> Iterator[str]:
    for each in detail.get("fieldViolations", ()):
        yield f"Field {each.get('field', '')}: {each.get('description', '')}"


def _quota(detail: Detail) -> Iterator[str]:
    for each in detail.get("violations", ()):
        yield f"Quota of {each.get('subject', '')}: {each.get('description', '')}"


def _precondition(detail: Detail) -> Iterator[str]:
    for each in detail.get("violations", ()):
        named = " ".join(filter(None, [each.get("type"), each.get("subject")]))
        yield f"Precondition {named}: {each.get('description', '')}"


def _retry(detail: Detail) -> Iterator[str]:
    yield f"Retry after {detail.get('retryDelay', '0s')}"


def _links(detail: Detail) -> Iterator[str]:
    for each in detail.get("links", ()):
        yield f"See {each.get('url', '')} {each.get('description', '')}".rstrip()


def _resource(detail: Detail) -> Iterator[str]:
    named = f"{detail.get('resourceType', '')} {detail.get('resourceName', '')}".strip()
    yield f"Resource {named}: {detail.get('description', '')}".rstrip(": ")


def _request(detail: Detail) -> Iterator[str]:
    yield f"Request {detail.get('requestId', '')}"


def _localized(detail: Detail) -> Iterator[str]:
    yield str(detail.get("message", ""))


def _debug(detail: Detail) -> Iterator[str]:
    if detail.get("detail"):
        yield f"Debug: {detail['detail']}"
    for entry in detail.get("stackEntries", ()):
        yield f"  {entry}"


_DESCRIBED: Final[Mapping[str, Callable[[Detail], Iterator[str]]]] = {
    "ErrorInfo": _error_info,
    "BadRequest": _bad_request,
    "QuotaFailure": _quota,
    "PreconditionFailure": _precondition,
    "RetryInfo": _retry,
    "Help": _links,
    "ResourceInfo": _resource,
    "RequestInfo": _request,
    "LocalizedMessage": _localized,
    "DebugInfo": _debug,
}
