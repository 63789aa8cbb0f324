"""The tools with tasks of the conformance suite that no RPC of a backend can provide."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Literal

import mcp_types as types

from lro_gateway.mcp.answers import Answer, Reply, TaskKey
from lro_gateway.mcp.extension_point import Extension, ExtraTool, ToolCall
from lro_gateway.mcp.tasks.approvals import InputTasks
from lro_gateway.mcp.tasks.tasks import TaskState, TaskStatus
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import ANONYMOUS, Principal
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import StartRequest
from tests.gateways import offer_of
from tests.mcp.jobs import SERVICE

Handler = Callable[[ToolCall], Awaitable[Reply]]


def extra_tool(
    name: str, call: Handler, task_support: Literal["optional", "required"] | None = None
) -> ExtraTool:
    """Return a tool that takes any arguments."""
    execution = types.ToolExecution(task_support=task_support) if task_support else None
    tool = types.Tool(
        name=name,
        description=f"A fixture: {name}.",
        input_schema={"type": "object"},
        execution=execution,
    )
    return ExtraTool(tool, call)


def text(content: str) -> types.CallToolResult:
    """Return a result with one text block."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=content)])


def question(message: str, field: str, kind: str = "string") -> dict[str, Any]:
    """Return an elicitation request that asks for one field."""
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


class ConfirmDelete:
    """A kind of task that asks one question, and returns whether the person agreed."""

    name = "confirm_delete"

    def questions(self, subject: tuple[str, ...]) -> Mapping[str, Any]:
        return {"confirm": question(f"Delete {subject[0]}?", "confirm", "boolean")}

    async def proceed(
        self, _caller: Principal, subject: tuple[str, ...], answers: Mapping[str, Any]
    ) -> types.CallToolResult:
        agreed = answers["confirm"].get("action") == "accept"
        return text(f"{'deleted' if agreed else 'kept'} {subject[0]}")


class MultiInput:
    """A kind of task that asks two questions at once, and returns both answers."""

    name = "multi_input"

    def questions(self, _subject: tuple[str, ...]) -> Mapping[str, Any]:
        return {key: question(f"Your {key} name?", "name") for key in ("first", "last")}

    async def proceed(
        self, _caller: Principal, _subject: tuple[str, ...], answers: Mapping[str, Any]
    ) -> types.CallToolResult:
        return text(" ".join(answers[key]["content"]["name"] for key in ("first", "last")))


class ProtocolErrors:
    """A source of tasks that end in a JSON-RPC error. The task of an operation never ends so."""

    name = "protocol_error"

    async def get(self, _caller: Principal, reference: tuple[str, ...]) -> TaskState:
        created = dt.datetime.fromisoformat(reference[0])
        if dt.datetime.now(dt.UTC) < created + dt.timedelta(milliseconds=300):
            return TaskState(TaskStatus.WORKING, "Running.", created, created)
        message = "the task failed with a protocol error"
        error = types.ErrorData(code=types.INTERNAL_ERROR, message=message)
        return TaskState(TaskStatus.FAILED, message, created, created, error=error)

    async def watch(
        self, caller: Principal, reference: tuple[str, ...]
    ) -> AsyncGenerator[TaskState]:
        yield await self.get(caller, reference)

    async def cancel(self, _caller: Principal, _reference: tuple[str, ...]) -> None: ...

    async def update(
        self, _caller: Principal, _reference: tuple[str, ...], _answers: Mapping[str, Any]
    ) -> None: ...


def fixtures(service: OperationService) -> Extension:
    """Return the tools that the suite calls, and the sources of their tasks."""
    confirming = InputTasks(ConfirmDelete(), service)
    asking = InputTasks(MultiInput(), service)

    async def greet(call: ToolCall) -> Reply:
        # The suite expects only a text, but the tool of an RPC returns JSON.
        return text(f"Hello, {call.arguments['name']}!")

    async def confirm_delete(call: ToolCall) -> Reply:
        return confirming.key("confirm_delete", call.arguments["filename"])

    async def multi_input(_call: ToolCall) -> Reply:
        return asking.key("multi_input")

    async def failing_job(_call: ToolCall) -> Reply:
        # The suite expects a refusal of clients without tasks, but the tool of an RPC serves them.
        return await _started(service, {"seconds": 2, "failure": "the job failed"})

    async def protocol_error_job(_call: ToolCall) -> Reply:
        now = dt.datetime.now(dt.UTC).isoformat()
        return TaskKey(ProtocolErrors.name, "protocol_error_job", (now,))

    async def test_tool_with_task(call: ToolCall) -> Reply:
        answer = (call.params.input_responses or {}).get("user_name")
        if not isinstance(answer, types.ElicitResult) or answer.content is None:
            request = types.InputRequiredResult.model_validate(
                {"inputRequests": {"user_name": question("Your name?", "name")}}
            )
            return request.model_copy(update={"request_state": "asked"})
        return await _started(service, {"seconds": 2, "label": answer.content["name"]})

    tools = (
        extra_tool("greet", greet),
        extra_tool("confirm_delete", confirm_delete, "required"),
        extra_tool("multi_input", multi_input, "required"),
        extra_tool("failing_job", failing_job, "required"),
        extra_tool("protocol_error_job", protocol_error_job, "required"),
        extra_tool("test_tool_with_task", test_tool_with_task, "required"),
    )
    return Extension(tools, (confirming, asking, ProtocolErrors()))


async def _started(service: OperationService, arguments: Mapping[str, Any]) -> Answer:
    request = StartRequest(await offer_of(service, f"{SERVICE}.SlowCompute"), arguments)
    started = await service.start(ANONYMOUS, request)
    operation = started.operation
    assert isinstance(operation, Operation)
    return Answer(operation.to_json(), "Running.", operation=operation)
