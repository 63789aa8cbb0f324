"""The check of a JSON-RPC message before the SDK reads it.

The SDK takes a request whose id it cannot use as a notification, so its client would wait for ever.
It repeats ids and methods of any length in its answers.
"""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types
import orjson

MAX_ID: Final = 256
"""The maximum length of an id in characters."""
MAX_METHOD: Final = 256
"""The maximum length of the name of a method in characters."""

_RESULTS: Final = ("result", "error")


def envelope_error(body: bytes) -> bytes | None:
    """Return the JSON-RPC error for a body that is not one valid message, or None."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _error(types.PARSE_ERROR, f"the body is not JSON: {error}")
    problem = _problem(message)
    return _error(types.INVALID_REQUEST, problem) if problem else None


def _problem(message: Any) -> str:
    """Return what is wrong with a message, or an empty text."""
    if not isinstance(message, dict):
        return "the body must be one JSON-RPC message, which is an object; a batch is not supported"
    if message.get("jsonrpc") != "2.0":
        return 'jsonrpc must be "2.0"'
    method = message.get("method")
    if method is None and not any(key in message for key in _RESULTS):
        return "method is missing"
    if "id" in message and (problem := _id_problem(message["id"])):
        return problem
    return "" if method is None else _method_problem(method)


def _id_problem(value: Any) -> str:
    # orjson reads a number beyond 64 bits as a float. In Python, true is an integer.
    if isinstance(value, bool) or not isinstance(value, str | int):
        return "id must be a string or an integer of at most 64 bits"
    too_long = isinstance(value, str) and len(value) > MAX_ID
    return f"id may have at most {MAX_ID} characters" if too_long else ""


def _method_problem(value: Any) -> str:
    if not isinstance(value, str):
        return "method must be a string"
    return f"method may have at most {MAX_METHOD} characters" if len(value) > MAX_METHOD else ""


def _error(code: int, text: str) -> bytes:
    error = {"code": code, "message": text}
    return orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})
