"""The replies that a tool can return: an answer, a task, a plain MCP result, or a question."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import mcp_types as types
import orjson

from lro_gateway.descriptors.selection import Selection, select
from lro_gateway.errors import JSON
from lro_gateway.operations.operation import Operation

_T = TypeVar("_T")

ARCHIVED_META: Final = "lro-gateway/archived"
"""The key in `_meta` of an answer from the archive, for the time of the copy."""
REQUEST_ID_META: Final = "lro-gateway/request_id"
"""The key in `_meta` of the request_id of a call, if the caller may need it for a retry."""

REPEAT_META: Final = "lro-gateway/idempotency_replayed"
"""The key in `_meta` that is true if an earlier call has started the operation of the answer."""

_HIDDEN: Final = re.compile(
    "[\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""The characters of JSON text that show nothing, or that change the direction of other text."""


def json_text(value: Any) -> str:
    """Return JSON as text for a model. Characters that show nothing are escaped.

    Without this, a backend's data could hold words that a model reads, although a person who looks
    at the same text does not see them. Escaped text is the same JSON.
    """
    return escaped_json(orjson.dumps(value))


def escaped_json(content: bytes) -> str:
    """Return JSON in UTF-8 as `json_text` returns its value."""
    text = content.decode()
    return text if text.isascii() and "\x7f" not in text else _HIDDEN.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class Printable(Protocol):
    """An operation, a page of operations or the response of a plain method."""

    @property
    def size(self) -> int:
        """The size in bytes of the wire format."""

    async def json(self) -> Any:
        """Return it as ProtoJSON."""

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return the result of work with it, in a thread if it is large."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool's result.

    `structured` is the result as ProtoJSON. `text` explains the result to a model. `operation` is
    the operation that may become a task, if there is one. `meta` is the result's `_meta`. `blocks`
    are further blocks of content: images, embedded resources and links. `source` is what the
    result was printed from, or None if the result is always short.
    """

    structured: JSON
    text: str
    operation: Operation | None = None
    meta: JSON | None = None
    blocks: tuple[types.EmbeddedResource | types.ImageContent | types.ResourceLink, ...] = ()
    source: Printable | None = None

    @property
    def request_id(self) -> str:
        """The request_id of the call that started the operation, or "" if the caller knows it."""
        return str((self.meta or {}).get(REQUEST_ID_META, ""))

    def to_result(self) -> types.CallToolResult:
        """Return the MCP result.

        `structuredContent` is the JSON. The first text block is the same JSON, and the second text
        block is the text for a model. Other blocks follow.
        """
        return types.CallToolResult(
            content=[
                types.TextContent(type="text", text=json_text(self.structured)),
                types.TextContent(type="text", text=self.text),
                *self.blocks,
            ],
            structured_content=self.structured,
            _meta=self.meta,
        )

    def to_wire(self) -> JSON:
        """Return the MCP result as a dict. The SDK handles a dict faster than a pydantic model."""
        texts = (json_text(self.structured), self.text)
        blocks = [block.model_dump(by_alias=True, exclude_none=True) for block in self.blocks]
        wire: JSON = {
            "resultType": "complete",
            "content": [*({"type": "text", "text": text} for text in texts), *blocks],
            "structuredContent": self.structured,
            "isError": False,
        }
        return {**wire, "_meta": self.meta} if self.meta else wire


async def operation_answer(
    operation: Operation,
    text: str,
    *,
    follows: bool = False,
    meta: JSON | None = None,
    fields: Selection | None = None,
) -> Answer:
    """Return the answer with the selected fields of an operation.

    If it `follows`, the operation may become a task.
    """
    structured = await selected_json(operation, fields)
    followed = operation if follows else None
    meta = archived_meta(operation, meta)
    return Answer(structured, text, operation=followed, meta=meta, source=operation)


def archived_meta(operation: Operation, meta: JSON | None = None) -> JSON | None:
    """Return the `_meta` of an answer, which tells if the operation is from the archive."""
    if operation.archived is None:
        return meta
    return {**(meta or {}), ARCHIVED_META: operation.archived.to_json()}


async def selected_json(answered: Printable, fields: Selection | None = None) -> Any:
    """Return the selected fields of the JSON of an answer, or all of it without `fields`."""
    value = await answered.json()
    if not fields:
        return value
    selection = fields
    return await answered.run(lambda: select(value, selection))


@dataclass(frozen=True, slots=True)
class TaskKey:
    """The content of a task id.

    `source` is the name of the `TaskSource` that serves the task. `tool` is the tool that created
    the task. The source finds the task by `reference`. For an operation's task, the reference is
    the backend and the operation's name.
    """

    source: str
    tool: str
    reference: tuple[str, ...]


Reply = Answer | TaskKey | types.CallToolResult | types.InputRequiredResult
"""The reply of a tool.

The operation of an `Answer` may become a task. A `TaskKey` identifies a task. A
`CallToolResult` goes to the client unchanged. An `InputRequiredResult` is a question to the client.
"""
