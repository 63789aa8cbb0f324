"""Completes the names of operations, webhooks and approvals in a shell."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import httpx2

from lro_gateway.commands.terminal.connection import (
    DEFAULT_URL,
    Connection,
    http_client,
    token_of,
    url_of,
)
from lro_gateway.commands.terminal.failures import CommandError

_LIMIT: Final = 1.0
"""Seconds that a completion may take; a person waits for it at the prompt."""
_COUNT: Final = 100
_PLAIN: Final = re.compile(r"[\w./@%+,][\w./:@%+,=~-]*")
"""The names that have no character with a meaning for a shell.

A shell evaluates what it completes, and with it any command that a service has put into a name.
"""


def operation_names(ctx: Any, incomplete: str) -> list[str]:
    """Return the names, and the last parts of names, that begin with the incomplete text.

    A gateway that does not answer has no names, because an error has no place in a completion.
    """
    names = _listed(ctx, "operations", "name", returnPartialSuccess="true")
    short = [name.rpartition("/")[2] for name in names]
    return [name for name in (*names, *short) if name.startswith(incomplete)]


def webhook_ids(ctx: Any, incomplete: str) -> list[str]:
    """Return the ids of the caller's webhooks that begin with the incomplete text."""
    ids = _listed(ctx, "webhooks", "id")
    return [each for each in ids if each.startswith(incomplete)]


def approval_ids(ctx: Any, incomplete: str) -> list[str]:
    """Return the ids of the calls that wait for an approval and begin with the incomplete text."""
    names = _listed(ctx, "approvals", "name", state="pending")
    ids = [name.rpartition("/")[2] for name in names]
    return [each for each in ids if each.startswith(incomplete)]


def _listed(ctx: Any, collection: str, field: str, **query: str) -> list[str]:
    """Return the names in a list of the gateway, or none if it does not answer."""
    given, variables = ctx.params, os.environ
    file = given.get("token_file") or variables.get("LRO_GATEWAY_TOKEN_FILE")
    try:
        url = url_of(given.get("gateway") or variables.get("LRO_GATEWAY_URL") or DEFAULT_URL)
        token = token_of(Connection(url, token_file=Path(file) if file else None))
        with http_client(httpx2.Client, url, timeout=_LIMIT) as http:
            answer = http.get(
                f"{url}/v1/{collection}",
                params={"fields": f"{collection}({field})", "pageSize": str(_COUNT), **query},
                headers={"authorization": f"Bearer {token}"} if token else {},
            )
        names = [str(each[field]) for each in answer.json()[collection]]
    except (CommandError, httpx2.HTTPError, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if _PLAIN.fullmatch(name)]
