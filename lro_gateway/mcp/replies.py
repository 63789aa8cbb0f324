"""What a tool may reply beside an `Answer`, and tools that need more of a call than arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import mcp_types as types
from mcp.server.context import ServerRequestContext

from lro_gateway.mcp.tasks.ids import TaskKey
from lro_gateway.mcp.tools.verb_tools import Answer
from lro_gateway.principal import Principal

Reply = Answer | TaskKey | types.CallToolResult | types.InputRequiredResult
"""An answer, whose operation may become a task; a task; a plain result; or a question first."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as it came: who, with which arguments, and answers to what was asked before.

    `params.request_state` is what the tool gave with its question, `params.input_responses` the
    answers. `context` tells the wire and what the client can be asked.
    """

    caller: Principal
    params: types.CallToolRequestParams
    context: ServerRequestContext[Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments, not checked yet."""
        return self.params.arguments or {}


class ExtraTool(Protocol):
    """A tool beside those of the gateway's verbs and methods.

    `tool.execution.task_support` tells whether it replies with tasks: "required" if always.
    """

    @property
    def tool(self) -> types.Tool:
        """The tool as `tools/list` gives it."""

    @property
    def call(self) -> Callable[[ToolCall], Awaitable[Reply]]:
        """Call it; raises `StatusError`."""
