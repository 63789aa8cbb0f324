"""The fixed tools: one for each verb of google.longrunning.Operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

import mcp_types as types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from lro_gateway.descriptors.schema import Schema, message_schema
from lro_gateway.mcp import words
from lro_gateway.mcp.answers import Answer
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.service import verb_requests as requests
from lro_gateway.service.service import OperationService
from lro_gateway.service.waiting import MAX_WAIT, OnProgress

_PACKAGE: Final = "google.longrunning"
_OUTPUT: Final = {
    f"{_PACKAGE}.Operation.name": "The operation's name; other tools take it as it is.",
    f"{_PACKAGE}.Operation.metadata": "What the service tells of the operation, such as progress.",
    f"{_PACKAGE}.Operation.done": "false while it runs; true once it has ended, however.",
    f"{_PACKAGE}.Operation.error": "Why it failed or was cancelled (code 1).",
    f"{_PACKAGE}.Operation.response": "The result, of the type that @type names.",
    f"{_PACKAGE}.ListOperationsResponse.next_page_token": "Pass it as pageToken for the next page.",
    f"{_PACKAGE}.ListOperationsResponse.unreachable": "What could not be asked.",
    "google.rpc.Status.code": "google.rpc.Code: 1 cancelled, 3 invalid argument, 5 not found, ...",
    "google.rpc.Status.message": "What went wrong, in English.",
    "google.rpc.Status.details": "Typed details.",
}
_NAME: Final = "The operation's name exactly as it was returned; never make one up."
_INPUT: Final = {
    **{
        f"{_PACKAGE}.{verb}OperationRequest.name": _NAME
        for verb in ("Get", "Cancel", "Delete", "Wait")
    },
    f"{_PACKAGE}.WaitOperationRequest.timeout": (
        f'How long to wait, such as "30s"; {MAX_WAIT.seconds} s is the most and the default.'
    ),
    f"{_PACKAGE}.ListOperationsRequest.name": (
        "The parent whose operations to list, such as projects/p; empty for all."
    ),
    f"{_PACKAGE}.ListOperationsRequest.filter": "In the service's language, such as done=false.",
    f"{_PACKAGE}.ListOperationsRequest.page_size": "The most operations to return.",
    f"{_PACKAGE}.ListOperationsRequest.page_token": "nextPageToken of the page before.",
    f"{_PACKAGE}.ListOperationsRequest.return_partial_success": (
        "Return what there is when some backends cannot be reached, and name those in unreachable."
    ),
}


OPERATION_SCHEMA: Final = message_schema(
    operations_pb2.Operation.DESCRIPTOR, descriptions=_OUTPUT, required=("name", "done")
)
"""The output schema of a tool that answers with an operation."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of a tool: the caller, and ProtoJSON arguments that nothing has checked yet.

    `confirmed` is whether a person has agreed, where one must. `on_progress` takes the states that
    the call sees before it ends.
    """

    caller: Principal
    arguments: Mapping[str, Any]
    confirmed: bool = False
    on_progress: OnProgress | None = None


_Handler = Callable[[OperationService, Invocation], Awaitable[Answer]]


@dataclass(frozen=True)
class OperationTool:
    """One verb as a tool."""

    name: str
    title: str
    description: str
    request: Any
    response: Any
    annotations: types.ToolAnnotations
    call: _Handler
    required_input: tuple[str, ...] = ("name",)
    required_output: tuple[str, ...] = ()
    starts_tasks: bool = False
    """Whether its answer's operation becomes a task for a client that follows tasks."""

    def input_schema(self, backends: tuple[str, ...]) -> Schema:
        """Return the schema of the request message with `backend` beside its fields."""
        schema = message_schema(
            self.request.DESCRIPTOR, descriptions=_INPUT, required=self.required_input
        )
        schema["properties"]["backend"] = {
            "type": "string",
            "enum": list(backends),
            "description": "The backend, where the name does not tell it.",
        }
        return schema

    @cached_property
    def output_schema(self) -> Schema:
        """The schema of the response message."""
        return message_schema(
            self.response.DESCRIPTOR, descriptions=_OUTPUT, required=self.required_output
        )

    def to_tool(self, backends: tuple[str, ...]) -> types.Tool:
        """Return the tool as `tools/list` gives it."""
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.input_schema(backends),
            output_schema=self.output_schema,
            annotations=self.annotations,
            execution=task_execution(starts_tasks=self.starts_tasks),
        )


def task_execution(*, starts_tasks: bool) -> types.ToolExecution | None:
    """Return what 2025-11-25 says of a tool that a client may run as a task."""
    return types.ToolExecution(task_support="optional") if starts_tasks else None


def with_timeout_of_at_most(grace: timedelta, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of wait_operation with a timeout of at most `grace`."""
    given = requests.parse_wait(arguments).timeout
    timeout = grace if given is None else min(given, grace)
    return {**arguments, "timeout": f"{timeout.total_seconds()}s"}


async def _get(service: OperationService, call: Invocation) -> Answer:
    return _answer(await service.get(call.caller, requests.parse_get(call.arguments)))


async def _wait(service: OperationService, call: Invocation) -> Answer:
    request = requests.parse_wait(call.arguments)
    operation = await service.wait(call.caller, request, call.on_progress)
    return replace(_answer(operation), operation=operation)


async def _list(service: OperationService, call: Invocation) -> Answer:
    page = await service.list(call.caller, requests.parse_list(call.arguments))
    return Answer(page.to_json(), words.describe_page(page))


async def _cancel(service: OperationService, call: Invocation) -> Answer:
    request = requests.parse_cancel(call.arguments)
    await service.cancel(call.caller, replace(request, confirmed=call.confirmed))
    said = "Cancellation was asked for; it is best effort. Call wait_operation to see how it ends."
    return Answer({}, said)


async def _delete(service: OperationService, call: Invocation) -> Answer:
    request = requests.parse_delete(call.arguments)
    await service.delete(call.caller, replace(request, confirmed=call.confirmed))
    return Answer({}, "Deleted: its result is no longer kept. Deleting does not cancel.")


def _answer(operation: Operation) -> Answer:
    return Answer(operation.to_json(), words.describe(operation))


def _annotations(title: str, *, reads: bool) -> types.ToolAnnotations:
    """Return what Google's own hosted servers announce for the like tools."""
    return types.ToolAnnotations(
        title=title,
        read_only_hint=reads,
        destructive_hint=not reads,
        idempotent_hint=not reads,
        open_world_hint=False,
    )


TOOLS: Final = (
    OperationTool(
        name="get_operation",
        title="Get operation",
        description=(
            "Get the latest state of a long-running operation: its metadata, whether it is done,"
            " and its error or response. To wait for the end, use wait_operation, not polling."
        ),
        request=operations_pb2.GetOperationRequest,
        response=operations_pb2.Operation,
        annotations=_annotations("Get operation", reads=True),
        call=_get,
        required_output=("name", "done"),
    ),
    OperationTool(
        name="list_operations",
        title="List operations",
        description="List the long-running operations of one backend or of all, page by page.",
        request=operations_pb2.ListOperationsRequest,
        response=operations_pb2.ListOperationsResponse,
        annotations=_annotations("List operations", reads=True),
        call=_list,
        required_input=(),
        required_output=("operations",),
    ),
    OperationTool(
        name="wait_operation",
        title="Wait for operation",
        description=(
            "Wait until a long-running operation is done, or the timeout passes; returns its latest"
            " state either way. Call it again while done is false."
        ),
        request=operations_pb2.WaitOperationRequest,
        response=operations_pb2.Operation,
        annotations=_annotations("Wait for operation", reads=True),
        call=_wait,
        starts_tasks=True,
        required_output=("name", "done"),
    ),
    OperationTool(
        name="cancel_operation",
        title="Cancel operation",
        description=(
            "Ask for a running long-running operation to be cancelled. Best effort: it may still"
            " succeed; a cancelled one ends with error code 1."
        ),
        request=operations_pb2.CancelOperationRequest,
        response=empty_pb2.Empty,
        annotations=_annotations("Cancel operation", reads=False),
        call=_cancel,
    ),
    OperationTool(
        name="delete_operation",
        title="Delete operation",
        description=(
            "Have a long-running operation's record and result forgotten. It does not cancel: use"
            " cancel_operation for that."
        ),
        request=operations_pb2.DeleteOperationRequest,
        response=empty_pb2.Empty,
        annotations=_annotations("Delete operation", reads=False),
        call=_delete,
    ),
)
"""In the order in which `tools/list` gives them."""
