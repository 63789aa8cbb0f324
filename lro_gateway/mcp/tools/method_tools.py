"""Tools for the methods of backends, made from the methods' descriptors."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import mcp_types as types

from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.comments import shortened
from lro_gateway.descriptors.example_names import example_name
from lro_gateway.descriptors.field_names import fields_by_key, property_key
from lro_gateway.descriptors.http_body import HTTP_BODY, RawBody
from lro_gateway.descriptors.json_forms import Schema
from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.scalars import shown
from lro_gateway.descriptors.selection import Selection
from lro_gateway.descriptors.tool_schema import tool_schema
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import JSON, invalid_argument, says, shown_name
from lro_gateway.mcp import words
from lro_gateway.mcp.answers import (
    REPEAT_META,
    REQUEST_ID_META,
    Answer,
    operation_answer,
    selected_json,
)
from lro_gateway.mcp.tools.backend_argument import backend_schema
from lro_gateway.mcp.tools.fields_argument import FIELDS, FIELDS_SCHEMA, take_fields
from lro_gateway.mcp.tools.output_schemas import output_schema
from lro_gateway.mcp.tools.verb_tools import Invocation, task_execution
from lro_gateway.service.catalog import Offer, backend_argument
from lro_gateway.service.service import OperationService
from lro_gateway.service.starting import Started
from lro_gateway.service.unshown import unshown
from lro_gateway.service.verb_requests import StartRequest

_LONGEST: Final = 1024
"""The maximum length of a tool's description, in characters. A provider refuses a longer one."""
_LONGEST_OF_RESULT: Final = 200
"""The maximum length of the comment on the result of a method, in characters."""
_SAYS: Final = len(says(".")) + 1
"""The number of characters that the gateway puts around a comment."""
_BODY_SENTENCE: Final = (
    "Returns bytes of any content type: contentType names the type, and data is base64. They are"
    " also an image or an embedded resource, as text if they are text."
)

_IS_REPEAT: Final = (
    "This call repeats an earlier one with the same idempotency_key, so it started nothing new."
)


@dataclass(frozen=True)
class MethodTool:
    """The tool of an offered method. The method starts an operation or is a plain RPC.

    If `full_output_schema` is set, the output schema of an operation has the announced payloads.
    `backend_descriptions` has the descriptions of all backends by name.
    """

    offer: Offer
    full_output_schema: bool = False
    backend_descriptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.offer.name

    @property
    def starts_tasks(self) -> bool:
        """Whether the operation in the answer becomes a task for a client that supports tasks."""
        return self.offer.method.is_long_running

    @property
    def backend_argument(self) -> str:
        """The name of the argument that chooses the backend."""
        return backend_argument(self.offer.method)

    @cached_property
    def tool(self) -> types.Tool:
        """The tool as `tools/list` returns it."""
        hints = self.offer.hints
        title = " ".join(self.offer.method.words).capitalize()
        return types.Tool(
            name=self.name,
            title=title,
            description=_description(self.offer),
            input_schema=self._input_schema(),
            output_schema=self._output_schema(),
            annotations=types.ToolAnnotations(
                title=title,
                read_only_hint=hints.reads,
                destructive_hint=hints.destroys,
                idempotent_hint=hints.idempotent,
                open_world_hint=False,
            ),
            execution=task_execution(starts_tasks=self.starts_tasks),
        )

    def _output_schema(self) -> Schema | None:
        """Return the schema of the answer, or None if it may be a handle in place of a response."""
        offer = self.offer
        if offer.approval and not offer.method.is_long_running:
            return None
        return output_schema(offer.method, offer.types, full=self.full_output_schema)

    @property
    def _takes_fields(self) -> bool:
        """Whether `fields` selects the parts of the answer. A method may have such a field."""
        request = self.offer.method.request
        is_free = request.full_name in well_known.JSON_OBJECT
        return not is_free and FIELDS not in fields_by_key(request)

    @property
    def _also(self) -> list[str]:
        """The arguments that are no fields of the request."""
        several = len(self.offer.backends) > 1
        also = [FIELDS] if self._takes_fields else []
        return [*also, self.backend_argument] if several else also

    def _input_schema(self) -> Schema:
        types_ = self.offer.types
        schema = tool_schema(
            self.offer.method.request, descriptions=types_.comments.by_name, quoted=True
        )
        for name, example in _example_names(self.offer.method).items():
            if (described := schema["properties"].get(name)) is not None:
                shown = shown_name(example)
                commented = "description" in described
                _add_description(described, f"Such as {shown}." if commented else shown)
        if (key := self.offer.method.idempotency_key) is not None:
            # The description of the tool says what the id is for.
            schema["properties"][property_key(key)].pop("description", None)
        if self._takes_fields and not self.offer.method.is_long_running:
            # A start takes it too, but an answer without the name cannot be followed.
            schema["properties"][FIELDS] = FIELDS_SCHEMA
        if len(self.offer.backends) > 1:
            text = "Needed if no resource name in the arguments determines it."
            schema["properties"][self.backend_argument] = backend_schema(
                self.offer.backends, text, self.backend_descriptions
            )
        return schema

    async def call(self, service: OperationService, call: Invocation) -> Answer:
        """Call the method on the backend that the arguments choose."""
        given, selection = call.arguments, None
        if self._takes_fields:
            given, selection = take_fields(given)
        fields = dict(given)
        backend = fields.pop(self.backend_argument, None)
        if backend is None:  # ProtoJSON reads null as the field's default.
            backend = ""
        if not isinstance(backend, str):
            problem = f"a string is needed, not {shown(backend)}"
            raise invalid_argument(self.backend_argument, problem)
        request = StartRequest(
            self.offer,
            fields,
            backend,
            call.confirmed,
            also=self._also,
            idempotency_key=call.idempotency_key,
        )
        started = await service.start(call.caller, request)
        try:
            return await _answer(self.offer, started, selection)
        except Exception as error:  # noqa: BLE001 - unshown logs it
            raise unshown(self.offer, started, error) from None


def _example_names(method: Method) -> dict[str | None, str]:
    """Return an example of each resource name in the method's HTTP path, by its field's key."""
    return {
        property_key(each.path[0]): example_name(each.pattern)
        for each in method.routing_fields
        if len(each.path) == 1 and "/" in each.pattern
    }


def _add_description(schema: Schema, sentence: str) -> None:
    schema["description"] = " ".join(filter(None, [schema.get("description", ""), sentence]))


async def _answer(offer: Offer, started: Started, fields: Selection | None) -> Answer:
    method = offer.method
    meta: JSON | None = {REQUEST_ID_META: started.request_id} if started.request_id else None
    filled = f" {_filled_sentence(offer, started.request_id)}" if started.request_id else ""
    operation = started.operation
    if operation is None:
        wrapped = method.response.full_name in well_known.BARE
        printed = await selected_json(started.response, fields)
        bodies = tuple(started.response.bodies())
        text = "".join(["Done.", *map(words.describe_body, bodies), filled])
        blocks = tuple(_block(method, body) for body in bodies)
        structured = {"value": printed} if wrapped else printed
        return Answer(structured, text, meta=meta, blocks=blocks, source=started.response)
    text = words.describe(operation) + filled
    if started.is_repeat:
        text, meta = f"{_IS_REPEAT} {text}", {**(meta or {}), REPEAT_META: True}
    return await operation_answer(operation, text, follows=True, meta=meta, fields=fields)


def _block(method: Method, body: RawBody) -> types.EmbeddedResource | types.ImageContent:
    """Return a body as an image, as a resource of text, or as a resource of base64.

    A sound is a resource too, because some clients fail at a block of sound.
    """
    uri, kind, text = f"rpc:{method.path}", body.content_type, body.text
    if text is None:
        blob = base64.b64encode(body.data).decode()
        if body.is_image:
            return types.ImageContent(type="image", data=blob, mime_type=kind)
        return types.EmbeddedResource(
            resource=types.BlobResourceContents(uri=uri, mime_type=kind, blob=blob)
        )
    return types.EmbeddedResource(
        resource=types.TextResourceContents(uri=uri, mime_type=kind, text=text)
    )


def _filled_sentence(offer: Offer, request_id: str) -> str:
    key = offer.method.idempotency_key
    named = f"{(property_key(key) if key is not None else None) or 'requestId'} {request_id}"
    if offer.recognizes_repeats:
        return f"A retry with {named} is safe."
    return f"The gateway filled in {named}."


def _description(offer: Offer) -> str:
    """Return the comment of a method, and sentences about its result."""
    method, comments = offer.method, offer.types.comments
    sentences = []
    if method.is_long_running:
        sentences.append(_result_sentence(method, offer.types))
    if method.response.full_name == HTTP_BODY:
        sentences.append(_BODY_SENTENCE)
    if offer.approval:
        sentences.append(_approval_sentence(offer))
    sentences.append(_repeat_sentence(offer))
    if method.deprecated:
        sentences.append("Deprecated.")
    own = " ".join(filter(None, sentences))
    room = _LONGEST - len(own) - _SAYS
    comment = says(shortened(comments.of_name(method.full_name), room), room)
    return f"{comment or f'Calls {method.path}.'} {own}".rstrip()


def _approval_sentence(offer: Offer) -> str:
    on = "" if offer.approval == offer.backends else f" on {' and '.join(offer.approval)}"
    return f"Each call{on} waits until a person approves it; the answer says how to wait."


def _repeat_sentence(offer: Offer) -> str:
    """Return what a model must know before it repeats a call, for example after a time-out."""
    key = offer.method.idempotency_key
    if key is None:
        return "A repeat starts another; list first." if offer.method.is_long_running else ""
    reuse = f"Choose your own {property_key(key)} (a UUID) and reuse it to repeat"
    if offer.recognizes_repeats:
        return f"{reuse} safely."
    return f"{reuse}, but the service may ignore it."


def _result_sentence(method: Method, types_: TypeSet) -> str:
    if not method.response_type:
        return "Starts an operation."
    if method.response_type == well_known.EMPTY:
        return "Starts an operation without a result."
    short = method.response_type.rpartition(".")[2]
    comment = shortened(types_.comments.of_name(method.response_type), _LONGEST_OF_RESULT)
    sentence = f"Starts an operation that returns {short}."
    return " ".join(filter(None, [sentence, says(comment, _LONGEST_OF_RESULT)]))
