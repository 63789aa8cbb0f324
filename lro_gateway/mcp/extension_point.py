"""The extension point of the MCP face: a program can add its own tools and tasks."""

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

    If the tool replied to an earlier call with a question, `params.request_state` is the state that
    the tool gave with its question, and `params.input_responses` holds the client's answers.
    `context` has the protocol version and the capabilities of the client.
    """

    caller: Principal
    params: types.CallToolRequestParams
    context: ServerRequestContext[Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments as the client sent them. The gateway has not checked them."""
        return self.params.arguments or {}


@dataclass(frozen=True, slots=True)
class ExtraTool:
    """A tool that an extension adds.

    `tool` is the tool as `tools/list` returns it. `tool.execution.task_support` is "optional" or
    "required" if the tool replies with tasks. If it is "required", the gateway refuses a call by a
    client that does not support tasks. `call` raises `StatusError` if the call fails.
    """

    tool: types.Tool
    call: Callable[[ToolCall], Awaitable[Reply]]

    @property
    def task_support(self) -> str | None:
        """The tool's support of tasks: "required", "optional", or None if it has no tasks."""
        return self.tool.execution.task_support if self.tool.execution else None


@dataclass(frozen=True, slots=True)
class Extension:
    """The tools of an extension, and the sources of the tasks that these tools create.

    A tool of an extension replaces a method's tool of the same name. No two tools, and no two
    sources, may have the same name.
    """

    tools: tuple[ExtraTool, ...] = ()
    task_sources: tuple[TaskSource, ...] = ()
