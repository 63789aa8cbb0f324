"""The routes of google.longrunning.Operations, under any version prefix."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lro_gateway.background import race
from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.disconnection import disconnected
from lro_gateway.rest.errors import unknown_path
from lro_gateway.rest.events import KEEPALIVE_INTERVAL, list_events, operation_events
from lro_gateway.rest.method_routes import OF_OPERATIONS, VERBS, MethodRoutes
from lro_gateway.rest.parameters import (
    VERSION,
    Presentation,
    is_confirmed,
    json_body,
    merged,
    query_parameters,
    resource_path,
)
from lro_gateway.rest.responses import json_response, operation_response, tagged_response
from lro_gateway.service import verb_requests as requests
from lro_gateway.service.service import OperationService
from lro_gateway.service.shutdown import shutting_down
from lro_gateway.telemetry import callers_trace

_ACTIONS: Final = frozenset({"cancel", "wait"})
_COLLECTION: Final = "operations"
_UNCLAIMED: Final = frozenset({"UNKNOWN_PATH", "UNROUTABLE_NAME"})
"""Reasons of errors for a path or a name that nothing known claims."""
_WATCH: Final = ":watch"
_ANY_PATH: Final = re.compile(r"/(?P<version>[^/]+)/(?P<resource>.*)\Z", re.DOTALL)
_VERSIONED_PATH: Final = re.compile(r"/(?P<version>v[1-9][^/]*)/(?P<resource>.*)\Z", re.DOTALL)

_T = TypeVar("_T")


class OperationRoutes:
    """GET, DELETE and POST of operations; a `StatusError` leaves to the app's one handler."""

    def __init__(self, service: OperationService, methods: MethodRoutes) -> None:
        self._service = service
        self._methods = methods

    def route(self) -> Route:
        """Return the route, which matches any path with two segments: to be last but the 404."""
        return self._route(_ANY_PATH)

    def versioned_route(self) -> Route:
        """Return the same for the paths that begin as a version does, which are nobody else's."""
        return self._route(_VERSIONED_PATH)

    def _route(self, path: re.Pattern[str]) -> Route:
        route = Route("/{version}/{resource:path}", self.handle, methods=VERBS)
        # Starlette's own stops at a line break, and a name with one is to be refused as a name.
        route.path_regex = path
        return route

    async def handle(self, request: Request) -> Response:
        """Answer a request by its method; UNAVAILABLE if the gateway stops before it can."""
        try:
            return await self._handle(request)
        except asyncio.CancelledError:
            if not self._service.shutdown.has_begun:
                raise
            # The server's grace is over, and a body is still sent where one comes now.
            raise stopped(request.method) from None

    async def _handle(self, request: Request) -> Response:
        with callers_trace(request.headers):
            if OF_OPERATIONS.search(request.scope["raw_path"]):
                return await self._by_verb(request)
            response = await self._by_method(request)
            if response is not None:
                return response
            try:
                return await self._by_verb(request)
            except StatusError as error:
                if error.reason not in _UNCLAIMED:
                    raise
                # The path may be a method's of a backend that was never reached.
                raise self._service.catalog.unreached() or error from None

    async def _by_verb(self, request: Request) -> Response:
        """Answer a request of google.longrunning.Operations."""
        match request.method:
            case "DELETE":
                return await self.delete(request)
            case "POST":
                return await self.act(request)
            case "GET" | "HEAD":
                return await self.read(request)
            case _:
                refusal = HTTPException(405, headers={"allow": "GET, HEAD, DELETE, POST"})
                raise self._service.catalog.unreached() or refusal

    async def _by_method(self, request: Request) -> Response | None:
        """Answer a request that is a method's; None of what the five verbs answer."""
        table = await self._methods.table()
        found = await self._methods.match(table, request)
        if found is None:
            name, acts = _operation_of(request)
            # A backend that hangs must not hold up what another one's patterns say is its own.
            if name and self._service.owns(caller_of(request), name):
                return None
            complete = await self._methods.table(wait_for_all=True)
            found = None if complete is table else await self._methods.match(complete, request)
            if found is None:
                return None if acts else await self._methods.not_allowed(request)
        return await self._methods.call(request, *found)

    async def read(self, request: Request) -> Response:
        """GET `/v1/{name=**/operations/*}`, and GET `/v1/{name=**}/operations` as a list."""
        resource = _resource(request)
        query, presentation = query_parameters(request)
        if resource.endswith(_WATCH):
            watched = resource.removesuffix(_WATCH)
            return await self._watch(request, watched, query, replace(presentation, pretty=False))
        if (parent := _parent(resource)) is not None:
            arguments = merged(parent, query) if parent else query
            return await self._list(request, arguments, presentation)
        name_request = requests.parse_get(merged(resource, query))
        operation = await self._service.get(caller_of(request), name_request)
        return operation_response(request, operation, presentation)

    async def _watch(
        self, request: Request, name: str, query: dict[str, Any], presentation: Presentation
    ) -> Response:
        """GET `...:watch`: an operation, or the operations of a list, as they change."""
        if (parent := _parent(name)) is not None:
            listed = requests.parse_list(merged(parent, query) if parent else query)
            changes = self._service.watch_list(caller_of(request), listed, every=KEEPALIVE_INTERVAL)
            return await list_events(changes, presentation)
        name_request = requests.parse_get(merged(name, query))
        sightings = self._service.watch(caller_of(request), name_request, every=KEEPALIVE_INTERVAL)
        return await operation_events(request, sightings, presentation)

    async def _list(
        self, request: Request, arguments: dict[str, Any], presentation: Presentation
    ) -> Response:
        page = await self._service.list(caller_of(request), requests.parse_list(arguments))
        return tagged_response(request, page.to_json(presentation.options), presentation)

    async def delete(self, request: Request) -> Response:
        """DELETE `/v1/{name=**/operations/*}`; answers `{}`."""
        query, presentation = query_parameters(request)
        arguments = merged(_resource(request), query)
        asked = requests.parse_delete(arguments)
        await self._service.delete(
            caller_of(request), replace(asked, confirmed=is_confirmed(request))
        )
        return json_response({}, presentation)

    async def act(self, request: Request) -> Response:
        """POST `...:cancel`, which answers `{}`, and `...:wait`, which answers the operation."""
        name, _, verb = _resource(request).rpartition(":")
        if verb not in _ACTIONS or not name:
            raise unknown_path(request)
        query, presentation = query_parameters(request)
        arguments = merged(name, query, await json_body(request))
        if verb == "cancel":
            asked = requests.parse_cancel(arguments)
            await self._service.cancel(
                caller_of(request), replace(asked, confirmed=is_confirmed(request))
            )
            return json_response({}, presentation)
        waiting = self._service.wait(caller_of(request), requests.parse_wait(arguments))
        operation = await _unless_disconnected(request, waiting)
        return operation_response(request, operation, presentation)


def _operation_of(request: Request) -> tuple[str, bool]:
    """Return the operation's name in a path, if the verb has use for one, and whether it acts."""
    if not VERSION.match(request.path_params["version"]):
        return "", False
    resource = resource_path(request)
    if request.method == "POST":
        name, _, verb = resource.rpartition(":")
        return (name, True) if verb in _ACTIONS and name else ("", False)
    return (resource if request.method in {"GET", "HEAD", "DELETE"} else ""), False


def _parent(resource: str) -> str | None:
    """Return the parent whose operations a resource is, which may be empty; None of others."""
    if resource == _COLLECTION:
        return ""
    parent = resource.removesuffix("/" + _COLLECTION)
    return parent if parent != resource else None


def _resource(request: Request) -> str:
    if not VERSION.match(request.path_params["version"]):
        raise unknown_path(request)
    return resource_path(request)


def stopped(method: str) -> StatusError:
    """Make the error of a request that the gateway does not stay to answer."""
    return shutting_down("a backend has not answered yet: ask again", {"method": method})


async def _unless_disconnected(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Return what `work` returns, or cancel it when the client leaves."""
    result = await race(work, disconnected(request.receive))
    if result is None:
        raise status_error(Code.CANCELLED, "the client left", "CLIENT_DISCONNECTED")
    return result
