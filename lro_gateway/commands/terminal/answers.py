"""The answers of a gateway, or of something else that has answered in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from lro_gateway.commands.terminal.failures import RefusedError, UnreachableError

JSON = dict[str, Any]

NEVER: Final = "\0"
"""The name of a member that no answer has, where only an error may be in JSON."""
_HINTS: Final[Mapping[str, str]] = {
    "CREDENTIALS_MISSING": (
        "this command takes a token from --token-file, --keyring or the variable LRO_GATEWAY_TOKEN"
    ),
    "AMBIGUOUS_NAME": "this command takes the name of a backend of the gateway as --backend NAME",
}
"""What an error says besides, by its reason, because the gateway knows no options."""


def is_stream(response: httpx2.Response) -> bool:
    """Return whether an answer is a stream of server-sent events."""
    return str(response.headers.get("content-type", "")).startswith("text/event-stream")


def structured(result: Mapping[str, Any]) -> JSON:
    """Return what a tool returned. The first text of a failed call is its google.rpc.Status."""
    if result.get("isError"):
        raise refused(json.loads(result["content"][0]["text"]))
    found: JSON = result.get("structuredContent") or {}
    return found


def checked(response: httpx2.Response, where: str, has: str = "") -> JSON:
    """Return the JSON object of an answer that is no error, and that has a member.

    Raises `RefusedError` for an error of a gateway, and `UnreachableError` for what is no answer of
    a gateway.
    """
    if response.is_success:
        return parsed(response.text, response, where, has)
    raise refused(parsed(response.text, response, where, "error")["error"])


def parsed(text: str, response: httpx2.Response, where: str, has: str = "") -> JSON:
    """Return the JSON object of a text that an answer has, with a member that is no plain value.

    Without a name in `has` no member is needed.
    """
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _no_gateway(response, where)
    if has:
        member(answer, has, response, where)
    return answer


def member(answer: JSON, name: str, response: httpx2.Response, where: str) -> Any:
    """Return a member of an answer, which is an object or a list."""
    found = answer.get(name)
    if not isinstance(found, dict | list):
        raise _no_gateway(response, where)
    return found


def refused(error: Mapping[str, Any]) -> RefusedError:
    """Return the failure of an error in the form of Google's APIs, or of a google.rpc.Status."""
    code = str(error.get("status") or error.get("code", "UNKNOWN"))
    message = str(error.get("message", ""))
    found = RefusedError(code, message, error.get("details", ()))
    more = _HINTS.get(found.reason)
    return found if more is None else RefusedError(code, f"{message}; {more}", found.details)


def _no_gateway(response: httpx2.Response, where: str) -> UnreachableError:
    return UnreachableError(
        f"{where} answered {response.status_code} {response.reason_phrase}, but not as a gateway."
        " Check the URL, and what stands between."
    )
