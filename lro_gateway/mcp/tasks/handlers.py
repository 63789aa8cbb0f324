"""Tasks in the MCP server: what replies become, and the methods of both wires."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import mcp_types as types
from anyio.abc import TaskGroup
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from lro_gateway.errors import JSON
from lro_gateway.mcp.caller import CallerOf
from lro_gateway.mcp.live.resources import TEMPLATE, request_of
from lro_gateway.mcp.live.session_pushes import SessionPushes
from lro_gateway.mcp.live.subscriptions import Subscriptions
from lro_gateway.mcp.replies import Reply
from lro_gateway.mcp.tasks import core as core_tasks
from lro_gateway.mcp.tasks import extension as extension_tasks
from lro_gateway.mcp.tasks.core import CoreTasks
from lro_gateway.mcp.tasks.extension import ExtensionTasks, UpdateTaskRequestParams
from lro_gateway.mcp.tasks.finished import SettledTasks
from lro_gateway.mcp.tasks.ids import TaskIds, TaskKey
from lro_gateway.mcp.tasks.operations import OperationTasks, state_of
from lro_gateway.mcp.tasks.tasks import Tasks, TaskSource, TaskState
from lro_gateway.mcp.tools.toolbox import ToolChanges
from lro_gateway.mcp.tools.verb_tools import Answer
from lro_gateway.mcp.wire import (
    CORE_VERSION,
    EXTENSION,
    declares_extension,
    is_core,
    is_modern,
    no_such_method,
    require_extension,
)
from lro_gateway.principal import Principal
from lro_gateway.sealing import Sealer
from lro_gateway.service.service import OperationService

_Context = ServerRequestContext[Any, Any]
CallTool = Callable[[_Context, types.CallToolRequestParams], Awaitable[Reply]]
"""Calls a tool whose reply is to become a task."""


class TaskMethods:
    """Serves tasks on the extension of 2026-07-28 and on the core of 2025-11-25, from one set."""

    def __init__(
        self,
        service: OperationService,
        caller_of: CallerOf,
        sealer: Sealer,
        sources: Iterable[TaskSource],
    ) -> None:
        self._service = service
        self._caller_of = caller_of
        self._operations = OperationTasks(service)
        self._settled = SettledTasks()
        self._tasks = Tasks(TaskIds(sealer), (self._operations, self._settled, *sources))
        self._extension = ExtensionTasks(self._tasks)
        self._core = CoreTasks(self._tasks)
        self._pushes: SessionPushes | None = None

    def push_to_sessions(self, group: TaskGroup, tool_changes: ToolChanges) -> None:
        """Tell sessions of changes unasked from now on, in tasks of the group."""
        self._pushes = SessionPushes(group, self._tasks, tool_changes)

    def register(
        self,
        server: Server[Any],
        call_tool: CallTool,
        tool_changes: ToolChanges,
    ) -> None:
        """Add the methods to a server, and what cannot be done by methods as a middleware."""
        subscriptions = Subscriptions(self._service, self._tasks, tool_changes)

        async def listen(
            context: _Context, params: types.SubscriptionsListenRequestParams
        ) -> HandlerResult:
            return await subscriptions.listen(context, self._caller_of(context), params)

        async def middleware(ctx: _Context, call_next: CallNext) -> HandlerResult:
            return await self._serve(ctx, call_next, call_tool)

        add = server.add_request_handler
        add("tasks/get", types.GetTaskRequestParams, self._get)
        add("tasks/cancel", types.CancelTaskRequestParams, self._cancel)
        add("tasks/update", UpdateTaskRequestParams, self._update)
        add("tasks/result", types.GetTaskPayloadRequestParams, self._result)
        add("resources/subscribe", types.SubscribeRequestParams, self._subscribe)
        add("resources/unsubscribe", types.UnsubscribeRequestParams, self._unsubscribe)
        add("subscriptions/listen", types.SubscriptionsListenRequestParams, listen)
        server.middleware.append(middleware)

    async def answer(self, context: _Context, tool: str, reply: Reply) -> HandlerResult:
        """Return what tools/call answers: a task where the request declares the extension."""
        if isinstance(reply, TaskKey):
            require_extension(context)
            caller = self._caller_of(context)
            state = await self._tasks.state(caller, reply)
            return extension_tasks.created(self._tasks.id_of(caller, reply), state)
        if not isinstance(reply, Answer):
            return reply
        operation = reply.operation
        if operation is None or operation.done or not operation.name:
            return reply.to_wire()
        if not declares_extension(context):
            return reply.to_wire()
        task_id = self._tasks.id_of(self._caller_of(context), self._operations.key(tool, operation))
        created = extension_tasks.created(task_id, state_of(operation))
        return {**created, "_meta": reply.meta} if reply.meta else created

    async def _serve(
        self, context: _Context, call_next: CallNext, call_tool: CallTool
    ) -> HandlerResult:
        """Do what no handler can: capabilities of each era, and tools/call with a `task`.

        The SDK knows tools/call of 2025-11-25 without tasks, and would cut its result to that.
        """
        params = context.params or {}
        if context.method == "tools/call" and is_core(context) and params.get("task") is not None:
            call = types.CallToolRequestParams.model_validate(params, by_name=False)
            caller = self._caller_of(context)
            key, state = await self._task_of(caller, call.name, await call_tool(context, call))
            task_id = self._tasks.id_of(caller, key)
            if self._pushes is not None:
                self._pushes.follow_task(context.session, caller, task_id)
            return {"task": core_tasks.task(task_id, state)}
        result = _with_capabilities(context.method, await call_next(context))
        if context.method == "initialize" and self._pushes is not None and isinstance(result, dict):
            self._pushes.follow_tools(context.session, self._caller_of(context))
            result["capabilities"]["tools"]["listChanged"] = True
            result["capabilities"]["resources"]["subscribe"] = True
        return result

    async def _subscribe(self, context: _Context, params: types.SubscribeRequestParams) -> JSON:
        """resources/subscribe, where the session can carry what follows."""
        if self._pushes is None:
            raise no_such_method(context)
        if request_of(str(params.uri)) is None:
            raise MCPError(types.INVALID_PARAMS, f"a resource is {TEMPLATE}")
        uri = str(params.uri)
        caller = self._caller_of(context)
        self._pushes.follow_resource(context.session, self._service, caller, uri)
        return {}

    async def _unsubscribe(self, context: _Context, params: types.UnsubscribeRequestParams) -> JSON:
        if self._pushes is None:
            raise no_such_method(context)
        self._pushes.leave_resource(str(params.uri))
        return {}

    async def _task_of(
        self, caller: Principal, tool: str, reply: Reply
    ) -> tuple[TaskKey, TaskState]:
        if isinstance(reply, types.InputRequiredResult):
            raise MCPError(types.INVALID_REQUEST, f"{tool} asks what this protocol cannot carry")
        if isinstance(reply, Answer):
            operation = reply.operation
            if operation is not None and operation.name:
                return self._operations.key(tool, operation), state_of(operation)
            reply = reply.to_result()
        key = reply if isinstance(reply, TaskKey) else self._settled.key(tool, reply)
        return key, await self._tasks.state(caller, key)

    async def _get(self, context: _Context, params: types.GetTaskRequestParams) -> JSON:
        wire = self._extension if is_modern(context) else self._core
        return await wire.get(context, self._caller_of(context), params.task_id)

    async def _cancel(self, context: _Context, params: types.CancelTaskRequestParams) -> JSON:
        wire = self._extension if is_modern(context) else self._core
        return await wire.cancel(context, self._caller_of(context), params.task_id)

    async def _update(self, context: _Context, params: UpdateTaskRequestParams) -> JSON:
        if not is_modern(context):
            raise no_such_method(context)
        return await self._extension.update(context, self._caller_of(context), params)

    async def _result(self, context: _Context, params: types.GetTaskPayloadRequestParams) -> JSON:
        return await self._core.result(context, self._caller_of(context), params.task_id)


_CAPABILITIES: Final[dict[str, JSON]] = {
    "initialize": {"tasks": core_tasks.CAPABILITY},
    "server/discover": {"extensions": {EXTENSION: {}}},
}
"""What a server that speaks of itself says about tasks, by the method that asks."""


def _with_capabilities(method: str, result: HandlerResult) -> HandlerResult:
    """Add the era's capability: a server has one set of them, and each era another vocabulary."""
    added = _CAPABILITIES.get(method)
    if added is None or not isinstance(result, dict):
        return result
    if method == "initialize":
        # Over HTTP no session lasts that could carry what follows.
        result["capabilities"].get("resources", {}).pop("subscribe", None)
        if result.get("protocolVersion") != CORE_VERSION:
            return result
    return {**result, "capabilities": {**result.get("capabilities", {}), **added}}
