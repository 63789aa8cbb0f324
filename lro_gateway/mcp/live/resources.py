"""Operations as MCP resources. The URI is `operation://{backend}/{+name}`, the text is JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final
from urllib.parse import quote as percent_encode
from urllib.parse import unquote

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from lro_gateway.errors import Code, StatusError, escaped, plain
from lro_gateway.mcp import words
from lro_gateway.mcp.answers import checked_json, json_text
from lro_gateway.mcp.caller import CallerOf
from lro_gateway.mcp.failures import list_errors, resource_errors, resource_not_found
from lro_gateway.operations.names import is_relative
from lro_gateway.operations.operation import Operation, OperationPage
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import ListRequest, NameRequest
from lro_gateway.service.watch import Sighting

TEMPLATE: Final = "operation://{backend}/{+name}"
_SCHEME: Final = "operation://"
_JSON: Final = "application/json"
_RESERVED: Final = ":/?#[]@!$&'()*+,;=-._~"
"""The punctuation that `{+name}` does not encode (RFC 6570).

`%` is not included, so that decoding the URI gives exactly the name that was encoded.
"""
_MAX_COMPLETIONS: Final = 100
_Context = ServerRequestContext[Any, Any]


def uri_of(service: OperationService, operation: Operation) -> str:
    """Return the URI of an operation."""
    name = _name_in_uri(service, operation)
    # Clients may normalize a URI, which would change a name such as `//b/a/../c`. An encoded slash
    # does not separate segments, so such a name stays as it is.
    safe = _RESERVED if is_relative(name) else _RESERVED.replace("/", "")
    return f"{_SCHEME}{operation.backend}/{percent_encode(name, safe=safe)}"


def _name_in_uri(service: OperationService, operation: Operation) -> str:
    return service.router.name_within(operation.backend, operation.name)


def request_of(uri: str) -> NameRequest | None:
    """Return a request for the operation that a URI names, or None for any other URI."""
    backend, slash, name = uri.removeprefix(_SCHEME).partition("/")
    if not uri.startswith(_SCHEME) or not (backend and slash and name):
        return None
    try:
        return NameRequest(unquote(name, errors="strict"), backend)
    except UnicodeDecodeError:
        return None


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

    def __init__(self, service: OperationService, caller_of: CallerOf) -> None:
        self._service = service
        self._caller_of = caller_of

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
        self, _ctx: _Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
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
        uri = str(params.uri)
        request = request_of(uri)
        if request is None:
            raise resource_not_found(context, uri)
        with resource_errors(context, uri):
            operation = await self._service.get(self._caller_of(context), request)
            structured = await checked_json(operation)
        text = json_text(structured)
        content = types.TextResourceContents(uri=uri, mime_type=_JSON, text=text)
        return types.ReadResourceResult(contents=[content])

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
        return [_name_in_uri(self._service, each) for each in page.operations]

    async def _page(self, caller: Principal, request: ListRequest) -> OperationPage:
        """Return a page of operations, or an empty page if no backend can list operations."""
        with list_errors():
            try:
                return await self._service.list(caller, request)
            except StatusError as error:
                if request.page_token or error.code is Code.INVALID_ARGUMENT:
                    raise
                return OperationPage(())


def _request(*, page_size: int = 0, page_token: str = "", backend: str = "") -> ListRequest:
    return ListRequest(
        page_size=page_size, page_token=page_token, return_partial_success=True, backend=backend
    )
