"""The five tools of operations: one for each RPC of google.longrunning.Operations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

import mcp_types as types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.protobuf.descriptor import Descriptor

from lro_gateway.access.policy import Verb
from lro_gateway.descriptors.schema import Schema, message_schema
from lro_gateway.descriptors.tool_schema import tool_schema
from lro_gateway.errors import Code, StatusError
from lro_gateway.mcp import words
from lro_gateway.mcp.answers import Answer, operation_answer, selected_json
from lro_gateway.mcp.tools.backend_argument import backend_schema
from lro_gateway.mcp.tools.fields_argument import FIELDS, FIELDS_SCHEMA, of_page, take_fields
from lro_gateway.operations.operation import BackendStatusError, Operation
from lro_gateway.principal import Principal
from lro_gateway.service import verb_requests as requests
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import NameRequest
from lro_gateway.service.waiting import MAX_WAIT, OnProgress

_PAGE_SIZE: Final = 20
"""The page size of a list whose caller gives none. A longer page would fill a model's context."""
_STATE_LIMIT: Final = 2.0
"""Seconds that a cancel may take to read the operation's state."""
_DENIED: Final = frozenset({Code.PERMISSION_DENIED, Code.UNAUTHENTICATED})
_PACKAGE: Final = "google.longrunning"
_OUTPUT: Final = {
    f"{_PACKAGE}.Operation.name": "The operation's name. Pass it unchanged to other tools.",
    f"{_PACKAGE}.Operation.metadata": "The service's data on the operation, such as its progress.",
    f"{_PACKAGE}.Operation.done": (
        "false while the operation runs; true after it has succeeded, failed or been cancelled."
    ),
    f"{_PACKAGE}.Operation.error": (
        "The reason why the operation failed, or code 1 if it was cancelled."
    ),
    f"{_PACKAGE}.Operation.response": "The operation's result. @type names its type.",
    f"{_PACKAGE}.ListOperationsResponse.next_page_token": (
        "The token of the next page. Pass it as pageToken."
    ),
    f"{_PACKAGE}.ListOperationsResponse.unreachable": (
        "The backends and resources whose operations are missing, because they cannot be reached."
    ),
    "google.rpc.Status.code": (
        "A google.rpc.Code, such as 1 (cancelled), 3 (invalid argument) or 5 (not found)."
    ),
    "google.rpc.Status.message": "A description of the error, in English.",
    "google.rpc.Status.details": "Details of the error. @type names the type of each.",
}
_NAME: Final = "Verbatim."
_INPUT: Final = {
    **{
        f"{_PACKAGE}.{verb}OperationRequest.name": _NAME
        for verb in ("Get", "Cancel", "Delete", "Wait")
    },
    f"{_PACKAGE}.ListOperationsRequest.name": "projects/p",
    f"{_PACKAGE}.ListOperationsRequest.filter": "Backend's syntax.",
    f"{_PACKAGE}.ListOperationsRequest.page_size": f"Default {_PAGE_SIZE}.",
    f"{_PACKAGE}.ListOperationsRequest.page_token": "nextPageToken",
    f"{_PACKAGE}.ListOperationsRequest.return_partial_success": "Skips unreachable.",
}
"""The description of each argument for a model. The schema and the errors say the rest."""

_STATE: Final[Schema] = {
    "type": "string",
    "enum": list(requests.STATES),
    "description": "Any backend.",
}
_PAYLOADS: Final = frozenset({"metadata", "response"})
_OBJECT: Final[Schema] = {"type": "object"}
_TIMEOUT: Final = f"{_PACKAGE}.WaitOperationRequest.timeout"


def _timeout(default: timedelta) -> str:
    longest = f"At most {MAX_WAIT.seconds}s"
    if default != MAX_WAIT:
        longest += f", by default {default.total_seconds():g}s"
    return f"{longest}."


def _output_schema(descriptor: Descriptor) -> Schema:
    """Return the schema of an answer, in which each payload is an object with any fields."""
    schema = message_schema(descriptor, descriptions=_OUTPUT)
    for each in (schema, *schema.get("$defs", {}).values()):
        for name, described in each["properties"].items():
            if name in _PAYLOADS:
                each["properties"][name] = {**_OBJECT, "description": described["description"]}
    if (status := schema.get("$defs", {}).get("google.rpc.Status")) is not None:
        status["properties"]["details"]["items"] = _OBJECT
    return schema


OPERATION_SCHEMA: Final = _output_schema(operations_pb2.Operation.DESCRIPTOR)
"""The output schema of a tool that returns an operation.

It requires no field, because a caller may select the fields of the answer.
"""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of a tool.

    `arguments` are ProtoJSON, and the gateway has not checked them yet. `confirmed` is True if a
    person has agreed to the call. While the call waits, the tool passes each state of the operation
    to `on_progress`. `idempotency_key` is the one in the request's `_meta`, or None.
    """

    caller: Principal
    arguments: Mapping[str, Any]
    confirmed: bool = False
    on_progress: OnProgress | None = None
    idempotency_key: str | None = None


_Handler = Callable[[OperationService, Invocation], Awaitable[Answer]]


@dataclass(frozen=True)
class OperationTool:
    """The tool of one RPC of google.longrunning.Operations."""

    verb: Verb
    title: str
    description: str
    request: Any
    response: Any
    annotations: types.ToolAnnotations
    call: _Handler
    required_input: tuple[str, ...] = ("name",)
    more_input: Mapping[str, Schema] = field(default_factory=dict)
    """Further properties of the input schema."""
    takes_fields: bool = False
    """Whether the caller may select the fields of the answer by the argument `fields`."""
    starts_tasks: bool = False
    """Whether the operation in the answer becomes a task for a client that supports tasks."""

    @property
    def name(self) -> str:
        """The tool's name."""
        return "list_operations" if self.verb is Verb.LIST else f"{self.verb.value}_operation"

    def input_schema(
        self,
        backends: tuple[str, ...],
        default_wait: timedelta = MAX_WAIT,
        backend_descriptions: Mapping[str, str] | None = None,
    ) -> Schema:
        """Return the schema of the request message, with `backend` as one more property.

        With one backend there is nothing to choose, so the property is left out. `default_wait` is
        the timeout of a wait whose caller gives none.
        """
        descriptions = {**_INPUT, _TIMEOUT: _timeout(default_wait)}
        schema = tool_schema(
            self.request.DESCRIPTOR, descriptions=descriptions, required=self.required_input
        )
        if len(backends) != 1:
            schema["properties"]["backend"] = backend_schema(
                backends, "Needed if the name does not determine it.", backend_descriptions or {}
            )
        schema["properties"] |= self.more_input
        if self.takes_fields:
            schema["properties"][FIELDS] = FIELDS_SCHEMA
        return schema

    @cached_property
    def output_schema(self) -> Schema:
        """The schema of the response message."""
        return _output_schema(self.response.DESCRIPTOR)

    def to_tool(
        self,
        backends: tuple[str, ...],
        default_wait: timedelta,
        backend_descriptions: Mapping[str, str],
    ) -> types.Tool:
        """Return the tool as `tools/list` returns it."""
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.input_schema(backends, default_wait, backend_descriptions),
            output_schema=self.output_schema,
            annotations=self.annotations,
            execution=task_execution(starts_tasks=self.starts_tasks),
        )


def task_execution(*, starts_tasks: bool) -> types.ToolExecution | None:
    """Return the `execution` of a tool. It tells 2025-11-25 clients whether the tool has tasks."""
    return types.ToolExecution(task_support="optional") if starts_tasks else None


def with_timeout_of_at_most(grace: timedelta, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of wait_operation with a timeout of at most `grace`."""
    others, _ = take_fields(arguments)
    given = requests.parse_wait(others, (FIELDS,)).timeout
    timeout = grace if given is None else min(given, grace)
    return {**arguments, "timeout": f"{timeout.total_seconds()}s"}


async def _get(service: OperationService, call: Invocation) -> Answer:
    arguments, fields = take_fields(call.arguments)
    operation = await service.get(call.caller, requests.parse_get(arguments, (FIELDS,)))
    text = words.describe(operation, is_short=bool(fields))
    return await operation_answer(operation, text, fields=fields)


async def _wait(service: OperationService, call: Invocation) -> Answer:
    arguments, fields = take_fields(call.arguments)
    request = requests.parse_wait(arguments, (FIELDS,))
    operation = await service.wait(call.caller, request, call.on_progress)
    text = words.describe(operation, is_short=bool(fields))
    if request.timeout is not None and request.timeout > MAX_WAIT and not operation.done:
        text += f" The timeout was reduced to {MAX_WAIT.seconds} s, the maximum."
    return await operation_answer(operation, text, follows=True, fields=fields)


async def _list(service: OperationService, call: Invocation) -> Answer:
    arguments, fields = take_fields(call.arguments)
    request = requests.parse_list(arguments, (FIELDS,))
    # A model cannot know that one backend does not list, and needs the lists of the others.
    request = replace(request, page_size=request.page_size or _PAGE_SIZE, skips_listless=True)
    page = await service.list(call.caller, request)
    structured = await selected_json(page, of_page(fields))
    return Answer(structured, words.describe_page(page), source=page)


async def _cancel(service: OperationService, call: Invocation) -> Answer:
    request = requests.parse_cancel(call.arguments)
    try:
        await service.cancel(call.caller, replace(request, confirmed=call.confirmed))
    except BackendStatusError as error:
        # Many backends refuse to cancel an operation that is done, each with a code of its own.
        state = None if error.code in _DENIED else await _state_after(service, call, request)
        if state is None or not state.done:
            raise
    else:
        state = await _state_after(service, call, request)
    return Answer({}, words.describe_cancelled(state))


async def _state_after(
    service: OperationService, call: Invocation, request: NameRequest
) -> Operation | None:
    """Return the state after a cancel, or None if it cannot be read soon.

    An error of the read must not hide how the cancel ended.
    """
    try:
        async with asyncio.timeout(_STATE_LIMIT):
            return await service.get(call.caller, request)
    except (StatusError, TimeoutError):
        return None


async def _delete(service: OperationService, call: Invocation) -> Answer:
    request = requests.parse_delete(call.arguments)
    await service.delete(call.caller, replace(request, confirmed=call.confirmed))
    text = "The operation's record was deleted. Deletion does not cancel a running operation."
    return Answer({}, text)


def _annotations(title: str, *, reads: bool) -> types.ToolAnnotations:
    """Return the same annotations as Google's hosted MCP servers have for these tools."""
    return types.ToolAnnotations(
        title=title,
        read_only_hint=reads,
        destructive_hint=not reads,
        idempotent_hint=not reads,
        open_world_hint=False,
    )


TOOLS: Final = (
    OperationTool(
        verb=Verb.GET,
        title="Get operation",
        description=(
            "Get an operation: metadata, done and, once done, error or response. To wait, call"
            " wait_operation."
        ),
        request=operations_pb2.GetOperationRequest,
        response=operations_pb2.Operation,
        annotations=_annotations("Get operation", reads=True),
        call=_get,
        takes_fields=True,
    ),
    OperationTool(
        verb=Verb.LIST,
        title="List operations",
        description="List operations: all, of a parent, or in a state.",
        request=operations_pb2.ListOperationsRequest,
        response=operations_pb2.ListOperationsResponse,
        annotations=_annotations("List operations", reads=True),
        call=_list,
        required_input=(),
        more_input={"state": _STATE},
        takes_fields=True,
    ),
    OperationTool(
        verb=Verb.WAIT,
        title="Wait for operation",
        description=(
            "Get an operation once it is done or the timeout has passed. Call again while done is"
            " false."
        ),
        request=operations_pb2.WaitOperationRequest,
        response=operations_pb2.Operation,
        annotations=_annotations("Wait for operation", reads=True),
        call=_wait,
        starts_tasks=True,
        takes_fields=True,
    ),
    OperationTool(
        verb=Verb.CANCEL,
        title="Cancel operation",
        description=(
            "Request cancellation. It may still succeed. If cancelled, it ends with error code 1."
        ),
        request=operations_pb2.CancelOperationRequest,
        response=empty_pb2.Empty,
        annotations=_annotations("Cancel operation", reads=False),
        call=_cancel,
    ),
    OperationTool(
        verb=Verb.DELETE,
        title="Delete operation",
        description="Delete an operation's record and result. This does not cancel it.",
        request=operations_pb2.DeleteOperationRequest,
        response=empty_pb2.Empty,
        annotations=_annotations("Delete operation", reads=False),
        call=_delete,
    ),
)
"""The tools, in the order in which `tools/list` returns them."""
