"""The context that code gives to its log lines."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("lro_gateway_request_id", default=None)
"""The id of the HTTP request for which the current code runs, or None outside of requests.

A task keeps the id of its creator. It is not the field `request_id` of a method's request, which
makes a repeated start safe.
"""

KEPT: Final = "kept"
"""The attribute of a record that the limit for repeated lines lets pass."""

HTTP_REQUEST: Final = "http_request"
"""The attribute of a record of the access log with the fields of the request, as JSON."""

KEEP: Final[Mapping[str, object]] = MappingProxyType({KEPT: True})
"""The `extra` of lines about calls that change something. Each of them is logged."""
