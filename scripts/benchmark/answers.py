"""Whether an answer is the operation that was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import MessageToDict


class WrongAnswerError(Exception):
    """An answer that is not what was asked for; its text holds the answer."""


Check = Callable[[bytes, Any], None]
"""Raises `WrongAnswerError` unless a body tells of this operation."""


def _json(operation: Any) -> dict[str, Any]:
    """Return the ProtoJSON, `done` included."""
    return {"done": False, **MessageToDict(operation)}


def check_rest(body: bytes, operation: Any) -> None:
    """Check a REST answer, which may leave `done` out while it is false."""
    if {"done": False, **json.loads(body)} != _json(operation):
        raise WrongAnswerError(body.decode())


def check_mcp(body: bytes, operation: Any) -> None:
    """Check the answer to a `tools/call`: the operation as structured content and as text."""
    result = json.loads(body).get("result", {})
    texts = [block["text"] for block in result.get("content", ()) if block["type"] == "text"]
    told = [result.get("structuredContent"), *(json.loads(text) for text in texts[:1])]
    wanted = _json(operation)
    right = len(told) == 2 and all(t and {"done": False, **t} == wanted for t in told)
    if result.get("isError") or not right:
        raise WrongAnswerError(body.decode())


def state_of(body: bytes, name: str) -> int:
    """Return the number that is the state of a running operation, by the JSON of a watch."""
    operation = json.loads(body)
    if operation.get("name") != name or operation.get("done"):
        raise WrongAnswerError(body.decode())
    return int(operation["metadata"]["pagesCopied"])
