"""The one operation that every contender is asked for, and whether an answer is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from lro_gateway.demo.v1.database_admin_pb2 import BackupDatabaseMetadata

TOOL: Final = "get_operation"

_METADATA: Final = BackupDatabaseMetadata(
    create_time=Timestamp(seconds=1_790_000_000),
    progress_percent=42,
    pages_copied=1_176,
    total_pages=2_800,
)


class WrongAnswerError(Exception):
    """An answer that is not what was asked for; its text holds the answer."""


Check = Callable[[bytes, str], None]
"""Raises `WrongAnswerError` unless a body tells of the operation of this name."""


def operation_name(number: int, collection: str = "databases") -> str:
    """Return a name; each connection asks for its own, so that no two calls can be joined."""
    return f"{collection}/orders/operations/backup-{number:04}"


def operation(name: str) -> Any:
    """Return a typical running operation: typed metadata with times and progress."""
    running = operations_pb2.Operation(name=name)
    running.metadata.Pack(_METADATA)
    return running


def operation_json(name: str) -> dict[str, Any]:
    """Return the same as ProtoJSON, `done` included."""
    return {**MessageToDict(operation(name)), "done": False}


def check_rest(body: bytes, name: str) -> None:
    """Check a REST answer, which may leave `done` out while it is false."""
    if {"done": False, **json.loads(body)} != operation_json(name):
        raise WrongAnswerError(body.decode())


def check_mcp(body: bytes, name: str) -> None:
    """Check the answer to a `tools/call`: the operation as structured content and as text."""
    result = json.loads(body).get("result", {})
    texts = [block["text"] for block in result.get("content", ()) if block["type"] == "text"]
    told = [result.get("structuredContent"), *(json.loads(text) for text in texts[:1])]
    wanted = operation_json(name)
    right = len(told) == 2 and all(t and {"done": False, **t} == wanted for t in told)
    if result.get("isError") or not right:
        raise WrongAnswerError(body.decode())
