"""Operations and long answers as MCP resources. The text is JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

import mcp_types as types
import orjson
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from lro_gateway.access.resource import is_insufficient_scope
from lro_gateway.descriptors.printing import DEFAULT_OPTIONS
from lro_gateway.errors import JSON, Code, StatusError, escaped, plain, status_error
from lro_gateway.mcp import words
from lro_gateway.mcp.answers import archived_meta, escaped_json
from lro_gateway.mcp.caller import CallerOf
from lro_gateway.mcp.failures import list_errors, resource_errors, resource_not_found
from lro_gateway.mcp.kept_answers import KeptAnswers
from lro_gateway.mcp.operation_uris import (
    TEMPLATE,
    Range,
    name_in_uri,
    request_of,
    split_range,
    uri_of,
)
from lro_gateway.mcp.wire import check_cursor
from lro_gateway.operations.operation import OperationPage
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import ListRequest
from lro_gateway.service.watch import Sighting

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
_MAX_EVENT: Final = 2**20 - 2**14
"""The longest content in bytes. Clients of the MCP SDK refuse events of more than a mebibyte."""
_MAX_PART: Final = 160_000
"""The longest part in characters, each of which JSON may write in six bytes."""
_CHARACTERS: Final = "lro-gateway/characters"
"""The key in `_meta` of a part, for the number of characters of the whole."""
_MAX_COMPLETIONS: Final = 100
_Context = ServerRequestContext[Any, Any]


async def updates(service: OperationService, caller: Principal, uri: str) -> AsyncGenerator[None]:
    """Yield at each change of an operation, until the operation is done or missing.

    `uri` names the operation. The generator also yields after its first read, because the operation
    may have changed since the caller last read it.
    """
    request = request_of(uri)
    if request is None:
        return
    with suppress(StatusError):  # the client gets the same error from resources/read
        async with aclosing(service.watch(caller, request)) as sightings:
            latest: Sighting | None = None
            async for sighting in sightings:
                if latest is None or not sighting.operation.is_message_of(latest.operation):
                    yield
                latest = sighting


class Resources:
    """Serves resources/list, resources/templates/list, resources/read, and completion/complete."""

    def __init__(self, service: OperationService, caller_of: CallerOf, kept: KeptAnswers) -> None:
        self._service = service
        self._caller_of = caller_of
        self._kept = kept

    def register(self, server: Server[Any]) -> None:
        """Add the methods to a server."""
        add = server.add_request_handler
        add("resources/list", types.PaginatedRequestParams, self._list)
        add("resources/templates/list", types.PaginatedRequestParams, self._list_templates)
        add("resources/read", types.ReadResourceRequestParams, self._read)
        add("completion/complete", types.CompleteRequestParams, self._complete)

    async def _list(
        self, context: _Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """Return the operations of all backends that can list operations."""
        cursor = params.cursor if params is not None else None
        page = await self._page(self._caller_of(context), _request(page_token=cursor or ""))
        for operation in page.operations:
            await operation.prepare()
        resources = [
            types.Resource(
                uri=uri_of(self._service, operation),
                name=operation.name,
                title=plain(operation.name),
                description=words.describe_task(operation),
                mime_type=_JSON,
            )
            for operation in page.operations
        ]
        return types.ListResourcesResult(
            resources=resources, next_cursor=page.next_page_token or None
        )

    async def _list_templates(
        self, _ctx: _Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        check_cursor(params)
        template = types.ResourceTemplate(
            name="operation",
            title="Long-running operation",
            uri_template=TEMPLATE,
            description=(
                "The state of a long-running operation. The content is the JSON that the tool"
                " get_operation returns. Example: operation://east/databases/orders/operations/1."
            ),
            mime_type=_JSON,
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def _read(
        self, context: _Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri, part = split_range(str(params.uri))
        caller = self._caller_of(context)
        text, meta = await self._kept.find(caller, uri), None
        with resource_errors(context, uri):
            if text is None:
                text, meta = await self._operation(context, caller, uri)
            content = _content(str(params.uri), text, part, meta)
        return types.ReadResourceResult(contents=[content])

    async def _operation(
        self, context: _Context, caller: Principal, uri: str
    ) -> tuple[str, JSON | None]:
        """Return the JSON of an operation, and the `_meta` of its content."""
        request = request_of(uri)
        if request is None:
            raise resource_not_found(context, uri)
        operation = await self._service.get(caller, request)
        text = await operation.text(DEFAULT_OPTIONS, indented=False)
        content = await operation.run(lambda: escaped_json(text.content))
        return content, archived_meta(operation)

    async def _complete(
        self, context: _Context, params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        """Complete `backend` from the configured backends, and `name` from a page of operations."""
        if getattr(params.ref, "uri", None) != TEMPLATE:
            raise MCPError(types.INVALID_PARAMS, f"only {TEMPLATE} can be completed")
        caller = self._caller_of(context)
        chosen = (params.context.arguments or {}) if params.context else {}
        prefix = params.argument.value
        if params.argument.name == "backend":
            candidates = list(self._service.backend_names(caller))
        else:
            candidates = await self._names(caller, chosen.get("backend", ""))
        # A person sees the values. A name that does not show as it is cannot be told from another.
        values = [each for each in candidates if each.startswith(prefix) and each == escaped(each)]
        completion = types.Completion(
            values=values[:_MAX_COMPLETIONS],
            total=len(values),
            has_more=len(values) > _MAX_COMPLETIONS,
        )
        return types.CompleteResult(completion=completion)

    async def _names(self, caller: Principal, backend: str) -> list[str]:
        page = await self._page(caller, _request(page_size=_MAX_COMPLETIONS, backend=backend))
        return [name_in_uri(self._service, each) for each in page.operations]

    async def _page(self, caller: Principal, request: ListRequest) -> OperationPage:
        """Return a page of operations, or an empty page if no backend can list operations."""
        with list_errors():
            try:
                return await self._service.list(caller, request)
            except StatusError as error:
                refuses = _refuses(error) and not error.is_backends
                if request.page_token or refuses or is_insufficient_scope(error):
                    raise
                # A backend may also refuse to list without a parent, and is then left out.
                return OperationPage(())


def _refuses(error: StatusError) -> bool:
    return error.code is Code.INVALID_ARGUMENT or error.reason == "RATE_EXCEEDED"


def _request(*, page_size: int = 0, page_token: str = "", backend: str = "") -> ListRequest:
    return ListRequest(
        page_size=page_size, page_token=page_token, return_partial_success=True, backend=backend
    )


def _content(
    uri: str, text: str, part: Range | None, meta: JSON | None
) -> types.TextResourceContents:
    """Return the whole text, or the requested part. Raise RESPONSE_TOO_LARGE if it is too long.

    A part is no JSON, so it is plain text. Its `_meta` has the number of characters of the whole.
    """
    if part is not None:
        meta = {**(meta or {}), _CHARACTERS: len(text)}
        end = part.offset + min(_MAX_PART if part.limit is None else part.limit, _MAX_PART)
        shown = text[part.offset : end]
        return types.TextResourceContents(uri=uri, mime_type=_TEXT, text=shown, _meta=meta)
    if len(text) > _MAX_PART and len(orjson.dumps(text)) > _MAX_EVENT:
        raise status_error(
            Code.RESOURCE_EXHAUSTED,
            f"the resource has {len(text)} characters, too many for one message; read it in parts,"
            f" such as {uri}?offset=0&limit={_MAX_PART}",
            "RESPONSE_TOO_LARGE",
            metadata={"limit": str(_MAX_EVENT)},
        )
    return types.TextResourceContents(uri=uri, mime_type=_JSON, text=text, _meta=meta)
