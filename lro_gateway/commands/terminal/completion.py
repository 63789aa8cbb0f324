"""Completes the names of operations in a shell."""

from __future__ import annotations

import os
from typing import Any, Final

import httpx2

from lro_gateway.commands.terminal.connection import DEFAULT_URL, with_scheme

_LIMIT: Final = 1.0
"""Seconds that a completion may take; a person waits for it at the prompt."""
_COUNT: Final = 100


def operation_names(ctx: Any, incomplete: str) -> list[str]:
    """Return the names, and the last parts of names, that begin with the incomplete text.

    A gateway that does not answer has no names, because an error has no place in a completion.
    """
    url = ctx.params.get("gateway") or os.environ.get("LRO_GATEWAY_URL") or DEFAULT_URL
    token = os.environ.get("LRO_GATEWAY_TOKEN")
    try:
        answer = httpx2.get(
            f"{with_scheme(url).rstrip('/')}/v1/operations",
            params={
                "fields": "operations(name)",
                "pageSize": _COUNT,
                "returnPartialSuccess": "true",
            },
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=_LIMIT,
        )
        names = [str(each["name"]) for each in answer.json()["operations"]]
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError):
        return []
    short = [name.rpartition("/")[2] for name in names]
    return [name for name in (*names, *short) if name.startswith(incomplete)]
