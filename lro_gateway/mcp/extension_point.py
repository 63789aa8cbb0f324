"""The extension point of the MCP face: tools and tasks that a program adds to the gateway's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext

from lro_gateway.mcp.answers import Reply
from lro_gateway.mcp.tasks.tasks import TaskSource
from lro_gateway.principal import Principal


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool: the caller, the request, and the connection.

    If the tool has asked a question before, `params.request_state` is the state that the tool gave
    with its question, and `params.input_responses` holds the answers. `context` tells the protocol
    version and the capabilities of the client.
    """

    caller: Principal
    params: types.CallToolRequestParams
    context: ServerRequestContext[Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments as the client sent them; nothing has checked them."""
        return self.params.arguments or {}


@dataclass(frozen=True, slots=True)
class ExtraTool:
    """A tool beside those of operations and of methods.

    `tool` is the tool as `tools/list` gives it. `tool.execution.task_support` tells whether the
    tool replies with tasks; clients without tasks are refused if it is "required". `call` raises
    `StatusError` for a failed call.
    """

    tool: types.Tool
    call: Callable[[ToolCall], Awaitable[Reply]]

    @property
    def task_support(self) -> str | None:
        """Whether the tool replies with tasks: "required", "optional", or not at all."""
        return self.tool.execution.task_support if self.tool.execution else None


@dataclass(frozen=True, slots=True)
class Extension:
    """Tools, and the sources of the tasks that they reply with.

    A tool hides a method's tool of the same name. The names of two tools, or of two sources, must
    differ.
    """

    tools: tuple[ExtraTool, ...] = ()
    task_sources: tuple[TaskSource, ...] = ()
