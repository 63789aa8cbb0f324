"""The methods of both task protocols, and the step that turns a tool's reply into a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from lro_gateway.access.sealing import Sealer
from lro_gateway.errors import JSON
from lro_gateway.mcp.answers import Answer, Reply, TaskKey
from lro_gateway.mcp.caller import CallerOf
from lro_gateway.mcp.large_answers import LargeAnswers
from lro_gateway.mcp.tasks import core as core_tasks
from lro_gateway.mcp.tasks import extension as extension_tasks
from lro_gateway.mcp.tasks.core import CoreTasks
from lro_gateway.mcp.tasks.extension import ExtensionTasks, UpdateTaskRequestParams
from lro_gateway.mcp.tasks.finished import FinishedTasks
from lro_gateway.mcp.tasks.ids import TaskIds
from lro_gateway.mcp.tasks.operations import OperationTasks
from lro_gateway.mcp.tasks.tasks import Tasks, TaskSource, TaskState
from lro_gateway.mcp.wire import (
    CORE_VERSION,
    EXTENSION,
    declares_extension,
    is_core,
    is_modern,
    no_such_method,
    require_extension,
)
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService

_Context = ServerRequestContext[Any, Any]
CallTool = Callable[[_Context, types.CallToolRequestParams], Awaitable[Reply]]
"""Calls a tool whose reply becomes a task."""
FollowTask = Callable[[_Context, Principal, str], None]
"""Starts to send the changes of a new task, given by its id, to the caller that created it."""


class TaskMethods:
    """Serves the same tasks in both protocols: the extension and the core of 2025-11-25."""

    def __init__(
        self,
        service: OperationService,
        caller_of: CallerOf,
        sealer: Sealer,
        sources: Iterable[TaskSource],
        large: LargeAnswers,
    ) -> None:
        self._caller_of = caller_of
        self._operations = OperationTasks(service, large)
        self._finished = FinishedTasks()
        self.tasks: Final = Tasks(TaskIds(sealer), (self._operations, self._finished, *sources))
        self._extension = ExtensionTasks(self.tasks)
        self._core = CoreTasks(self.tasks)

    def register(self, server: Server[Any], call_tool: CallTool, follow: FollowTask) -> None:
        """Add the methods to a server, and a middleware.

        The middleware answers a tools/call of 2025-11-25 that has a `task`, and announces the
        capabilities. It calls `follow` for each new task of the core protocol.
        """

        async def middleware(ctx: _Context, call_next: CallNext) -> HandlerResult:
            params = ctx.params or {}
            # The SDK's handler of this request does not support tasks. It would ignore `task`.
            if ctx.method == "tools/call" and is_core(ctx) and params.get("task") is not None:
                return await self._start(ctx, call_tool, follow)
            return _with_capabilities(ctx.method, await call_next(ctx))

        add = server.add_request_handler
        add("tasks/get", types.GetTaskRequestParams, self._get)
        add("tasks/cancel", types.CancelTaskRequestParams, self._cancel)
        add("tasks/update", UpdateTaskRequestParams, self._update)
        add("tasks/result", types.GetTaskPayloadRequestParams, self._result)
        server.middleware.append(middleware)

    async def answer(self, context: _Context, tool: str, reply: Reply) -> HandlerResult:
        """Return the result of tools/call.

        The result is a task if the operation is still running, tasks/get can read it, and the
        request declares the tasks extension, or if the reply is a `TaskKey`.
        """
        if isinstance(reply, TaskKey):
            require_extension(context)
            caller = self._caller_of(context)
            state = await self.tasks.state(caller, reply)
            return extension_tasks.created(self.tasks.id_of(caller, reply), state)
        if not isinstance(reply, Answer):
            return reply
        operation = reply.operation
        if operation is None or operation.done or not declares_extension(context):
            return reply.to_wire()
        caller = self._caller_of(context)
        key = await self._operations.key_if_readable(caller, tool, operation, reply.request_id)
        if key is None:
            return reply.to_wire()
        task_id = self.tasks.id_of(caller, key)
        return extension_tasks.created(task_id, await self._begun(operation, reply))

    async def _start(self, context: _Context, call_tool: CallTool, follow: FollowTask) -> JSON:
        """Answer a 2025-11-25 tools/call that has a `task`: call the tool, and return its task."""
        call = types.CallToolRequestParams.model_validate(context.params, by_name=False)
        caller = self._caller_of(context)
        key, state = await self._task_of(caller, call.name, await call_tool(context, call))
        task_id = self.tasks.id_of(caller, key)
        follow(context, caller, task_id)
        return core_tasks.with_meta({"task": core_tasks.task(task_id, state)}, state)

    async def _task_of(
        self, caller: Principal, tool: str, reply: Reply
    ) -> tuple[TaskKey, TaskState]:
        if isinstance(reply, types.InputRequiredResult):
            message = f"{tool} asks a question, which a task of {CORE_VERSION} cannot carry"
            raise MCPError(types.INVALID_REQUEST, message)
        if isinstance(reply, Answer):
            request_id = reply.request_id
            if (operation := reply.operation) is not None:
                known = await self._operations.key_if_readable(caller, tool, operation, request_id)
                if known is not None:
                    return known, await self._begun(operation, reply)
            reply = reply.to_result()
        key = reply if isinstance(reply, TaskKey) else self._finished.key(tool, reply)
        return key, await self.tasks.state(caller, key)

    async def _begun(self, operation: Operation, answer: Answer) -> TaskState:
        """Return the state of a new task. It has the `_meta` of the answer that it stands for."""
        state = await self._operations.state_of(operation, request_id=answer.request_id)
        return replace(state, meta=answer.meta or state.meta)

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


def _with_capabilities(method: str, result: HandlerResult) -> HandlerResult:
    """Add the capability for tasks to a result that has capabilities.

    The capability depends on the protocol revision.
    """
    if not isinstance(result, dict):
        return result
    capabilities = result.get("capabilities", {})
    if method == "server/discover":
        added: JSON = {"extensions": {**capabilities.get("extensions", {}), EXTENSION: {}}}
    elif method == "initialize" and result.get("protocolVersion") == CORE_VERSION:
        added = {"tasks": core_tasks.CAPABILITY}
    else:
        return result
    return {**result, "capabilities": {**capabilities, **added}}
