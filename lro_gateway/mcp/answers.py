"""Answers of tools, and the other replies that a tool may give."""

from __future__ import annotations

from dataclasses import dataclass

import mcp_types as types
import orjson

from lro_gateway.errors import JSON
from lro_gateway.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool's result: `structured` is ProtoJSON, `text` is for a model.

    `operation` is the operation that the answer is about, if there is one. `meta` goes into the
    result's `_meta`.
    """

    structured: JSON
    text: str
    operation: Operation | None = None
    meta: JSON | None = None

    def to_result(self) -> types.CallToolResult:
        """Return the MCP result: the JSON, the same JSON as text, then the text for a model."""
        return types.CallToolResult(
            content=[
                types.TextContent(type="text", text=orjson.dumps(self.structured).decode()),
                types.TextContent(type="text", text=self.text),
            ],
            structured_content=self.structured,
            _meta=self.meta,
        )

    def to_wire(self) -> JSON:
        """Return the result as JSON: the SDK checks a dict as it checks a model, at less cost."""
        texts = (orjson.dumps(self.structured).decode(), self.text)
        wire: JSON = {
            "resultType": "complete",
            "content": [{"type": "text", "text": text} for text in texts],
            "structuredContent": self.structured,
            "isError": False,
        }
        return {**wire, "_meta": self.meta} if self.meta else wire


@dataclass(frozen=True, slots=True)
class TaskKey:
    """The content of a task id: the name of its source, the tool that made it, and a reference.

    The source finds the task by `reference`. The reference of an operation's task is the backend
    and the operation's name.
    """

    source: str
    tool: str
    reference: tuple[str, ...]


Reply = Answer | TaskKey | types.CallToolResult | types.InputRequiredResult
"""An answer, whose operation may become a task; a task; a plain result; or a question."""
