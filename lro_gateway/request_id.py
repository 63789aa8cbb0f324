"""The id of the HTTP request for which the current code runs. Log lines and answers have it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("lro_gateway_request_id", default=None)
"""The id of the request, or None outside of requests. A task keeps the id of its creator.

It is not the field `request_id` of a method's request, which makes a repeated start safe.
"""
