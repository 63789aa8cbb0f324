"""The routes of google.longrunning.Operations, under any version prefix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.access.policy import Verb
from lro_gateway.errors import JSON
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.disconnection import unless_disconnected
from lro_gateway.rest.errors import not_allowed
from lro_gateway.rest.events import KEEPALIVE_INTERVAL, list_events, operation_events
from lro_gateway.rest.operation_paths import OperationPath, path_of
from lro_gateway.rest.parameters import (
    SUMMARY,
    SYSTEM,
    Presentation,
    is_confirmed,
    json_body,
    merged,
    own_parameters,
    query_parameters,
    resource_path,
)
from lro_gateway.rest.responses import (
    json_response,
    operation_response,
    page_response,
    read_response,
    shown_by,
)
from lro_gateway.service import verb_requests as requests
from lro_gateway.service.beginnings import Beginnings
from lro_gateway.service.mine import entry_json
from lro_gateway.service.mine_request import ARGUMENTS, parse_mine
from lro_gateway.service.service import OperationService

_COLLECTION: Final = "operations"
_READING: Final = ("GET", "HEAD")
_SHOWING: Final = (SUMMARY, *SYSTEM)
"""The parameters of a request whose answer has operations, besides those of its verb."""


class OperationRoutes:
    """Answers GET, DELETE and POST of operations. The application handles a `StatusError`."""

    def __init__(self, service: OperationService) -> None:
        self._service = service

    async def answer(self, request: Request, path: OperationPath) -> Response:
        """Answer a request whose HTTP verb is one of `path.verbs`."""
        name = name_in(request, path)
        match path.custom_verb:
            case "cancel":
                return await self._cancel(request, name)
            case "wait":
                return await self._wait(request, name)
            case "watch":
                return await self._watch(request, name, is_list=path.is_list)
        if request.method == "DELETE":
            return await self._delete(request, name)
        return await self._read(request, name, is_list=path.is_list)

    async def mine(self, request: Request) -> Response:
        """Answer GET of `/v1/operations:mine` with what the caller, or its tenant, has started."""
        if request.method not in _READING:
            raise not_allowed(_READING)
        query, presentation = own_parameters(request, ARGUMENTS)
        page = await self._service.mine.page(caller_of(request), parse_mine(query))
        operations = [_with_path(entry_json(each)) for each in page.entries]
        answer: JSON = {"operations": operations}
        if page.next_page_token:
            answer["nextPageToken"] = page.next_page_token
        return json_response(answer, presentation)

    def _parameters(self, request: Request) -> tuple[dict[str, Any], Presentation]:
        """Return what the query gives. Summaries tell what the store knows, too."""
        query, presentation = query_parameters(request)
        if not presentation.summary:
            return query, presentation
        return query, replace(presentation, beginnings=self._service.beginnings)

    async def _read(self, request: Request, name: str, *, is_list: bool) -> Response:
        """Answer GET of `/v1/{name=**/operations/*}` and of the list `/v1/{name=**}/operations`."""
        query, presentation = self._parameters(request)
        if is_list:
            parent = parent_in(name)
            arguments = merged(parent, query) if parent else query
            page = await self._service.list(
                caller_of(request), requests.parse_list(arguments, _SHOWING)
            )
            return await page_response(request, page, presentation)
        name_request = requests.parse_get(merged(name, query), _SHOWING)
        operation = await self._service.get(caller_of(request), name_request)
        return await read_response(request, operation, presentation)

    async def _watch(self, request: Request, name: str, *, is_list: bool) -> Response:
        """Answer GET of `...:watch` with events for the changes of an operation or of a list."""
        query, presentation = self._parameters(request)
        presentation = replace(presentation, pretty=False)
        if is_list:
            parent = parent_in(name)
            listed = requests.parse_list(merged(parent, query) if parent else query, _SHOWING)
            # A look at a list compares each operation, and asks the store nothing for it.
            digested = replace(presentation, beginnings=Beginnings())
            changes = self._service.watch_list(
                *(caller_of(request), listed, shown_by(digested)), every=KEEPALIVE_INTERVAL
            )
            return await list_events(request, changes, presentation)
        name_request = requests.parse_get(merged(name, query), _SHOWING)
        caller = caller_of(request)
        name_request = await self._service.short_names.resolved(caller, name_request, Verb.WAIT)
        sightings = self._service.watch(caller, name_request, every=KEEPALIVE_INTERVAL)
        return await operation_events(request, sightings, presentation)

    async def _delete(self, request: Request, name: str) -> Response:
        """Answer DELETE of `/v1/{name=**/operations/*}` with `{}`."""
        query, presentation = self._parameters(request)
        deletion = requests.parse_delete(merged(name, query), SYSTEM)
        await self._service.delete(
            caller_of(request), replace(deletion, confirmed=is_confirmed(request))
        )
        return json_response({}, presentation)

    async def _cancel(self, request: Request, name: str) -> Response:
        """Answer POST of `...:cancel` with `{}`."""
        query, presentation = self._parameters(request)
        cancellation = requests.parse_cancel(merged(name, query, await json_body(request)), SYSTEM)
        await self._service.cancel(
            caller_of(request), replace(cancellation, confirmed=is_confirmed(request))
        )
        return json_response({}, presentation)

    async def _wait(self, request: Request, name: str) -> Response:
        """Answer POST of `...:wait` with the operation."""
        query, presentation = self._parameters(request)
        arguments = merged(name, query, await json_body(request))
        waiting = self._service.wait(caller_of(request), requests.parse_wait(arguments, _SHOWING))
        operation = await unless_disconnected(request.scope, waiting)
        return await operation_response(operation, presentation)


def _with_path(entry: JSON) -> JSON:
    """Add the path at which the operation of an entry can be read and followed."""
    name = entry.get("name")
    return {**entry, "path": path_of(name)} if name else entry


def name_in(request: Request, path: OperationPath) -> str:
    """Return the name in a path, without the custom verb. The name of a list is its collection."""
    resource = resource_path(request)
    return resource.removesuffix(f":{path.custom_verb}") if path.custom_verb else resource


def parent_in(name: str) -> str:
    """Return the parent in `{parent}/operations`, or an empty text for `operations`."""
    return name.removesuffix(_COLLECTION).removesuffix("/")
