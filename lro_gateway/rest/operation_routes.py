"""The routes of google.longrunning.Operations, under any version prefix."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lro_gateway.errors import Code, StatusError
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.disconnection import unless_disconnected
from lro_gateway.rest.errors import unknown_path
from lro_gateway.rest.events import KEEPALIVE_INTERVAL, list_events, operation_events
from lro_gateway.rest.method_routes import OPERATIONS_PATH, VERBS, MethodRoutes
from lro_gateway.rest.parameters import (
    NAME_IN_FIELD,
    VERSION,
    Presentation,
    is_confirmed,
    json_body,
    merged,
    query_parameters,
    resource_path,
)
from lro_gateway.rest.responses import (
    json_response,
    operation_response,
    read_response,
    shown_by,
    tagged_response,
)
from lro_gateway.service import verb_requests as requests
from lro_gateway.service.service import OperationService
from lro_gateway.service.shutdown import shutting_down
from lro_gateway.telemetry import callers_trace

_ACTIONS: Final = frozenset({"cancel", "wait"})
_COLLECTION: Final = "operations"
_UNKNOWN: Final = frozenset({Code.NOT_FOUND, Code.UNIMPLEMENTED})
"""The codes with which a backend refuses a name that is not the name of an operation."""
_UNROUTABLE: Final = frozenset({"AMBIGUOUS_NAME", "UNROUTABLE_NAME"})
"""The error reasons for a name from which the gateway cannot choose one backend."""
_WATCH: Final = ":watch"
_WATCH_PATH: Final = re.compile(rb":watch(?:\?|\Z)")
"""Matches the paths of watches. An encoded colon belongs to the name."""
_FULL_NAME: Final = re.compile(rb"/[^/]+/(?:/|-/backends/)")
"""Matches the paths of full names. No method has such a path."""
_NAME_IN_FIELD: Final = re.compile(rb"/[^/]+/-(?::[a-z]+)?(?:\?|\Z)")
_ANY_PATH: Final = re.compile(r"/(?P<version>[^/]+)/(?P<resource>.*)\Z", re.DOTALL)
_VERSIONED_PATH: Final = re.compile(r"/(?P<version>v[1-9][^/]*)/(?P<resource>.*)\Z", re.DOTALL)


class OperationRoutes:
    """Answers GET, DELETE and POST of operations. The application handles a `StatusError`."""

    def __init__(self, service: OperationService, methods: MethodRoutes) -> None:
        self._service = service
        self._methods = methods

    def route(self) -> Route:
        """Return the route for all paths of two or more segments. It must be the last route."""
        return self._route(_ANY_PATH)

    def versioned_route(self) -> Route:
        """Return the route for paths that begin with a version; no other route has such paths."""
        return self._route(_VERSIONED_PATH)

    def _route(self, path: re.Pattern[str]) -> Route:
        route = Route("/{version}/{resource:path}", self.handle, methods=VERBS)
        # Starlette's own pattern does not match a line break. A name with a line break must reach
        # the handler, because the handler refuses it as a malformed name.
        route.path_regex = path
        return route

    async def handle(self, request: Request) -> Response:
        """Answer a request. Raise UNAVAILABLE if the gateway stops before the response is ready."""
        try:
            return await self._handle(request)
        except asyncio.CancelledError:
            if not self._service.shutdown.has_begun:
                raise
            # The server cancels requests after its grace period, but still sends their responses.
            raise stopped(request.method) from None

    async def _handle(self, request: Request) -> Response:
        with callers_trace(request.headers):
            if OPERATIONS_PATH.search(request.scope["raw_path"]) or _is_of_operations(request):
                return await self._by_verb(request)
            response = await self._by_method(request)
            if response is not None:
                return response
            try:
                return await self._by_verb(request)
            except HTTPException as refusal:
                raise self._service.catalog.unreached() or refusal from None
            except StatusError as error:
                if not self._may_be_a_methods(request, error):
                    raise
                raise self._service.catalog.unreached() or error from None

    def _may_be_a_methods(self, request: Request, error: StatusError) -> bool:
        """Tell whether a refused path may belong to a method of a backend that was never reached.

        The answer is False if the caller names a backend, or if a backend's patterns match the
        name.
        """
        if error.code not in _UNKNOWN and error.reason not in _UNROUTABLE:
            return False
        name, _ = _operation_of(request)
        is_owned = name and self._service.owns(caller_of(request), name)
        return not is_owned and "backend" not in request.query_params

    async def _by_verb(self, request: Request) -> Response:
        """Answer a request for one of the five RPCs of google.longrunning.Operations."""
        match request.method:
            case "DELETE":
                return await self.delete(request)
            case "POST":
                return await self.act(request)
            case "GET" | "HEAD":
                return await self.read(request)
            case _:
                raise HTTPException(405, headers={"allow": "GET, HEAD, DELETE, POST"})

    async def _by_method(self, request: Request) -> Response | None:
        """Answer a request that calls a backend's method. Return None for all other requests."""
        table = await self._methods.table()
        found = await self._methods.match(table, request)
        if found is None:
            name, is_action = _operation_of(request)
            # If a backend's patterns match the name, do not wait for other backends that may hang.
            if name and self._service.owns(caller_of(request), name):
                return None
            complete = await self._methods.table(wait_for_all=True)
            found = None if complete is table else await self._methods.match(complete, request)
            if found is None:
                return None if is_action else await self._methods.not_allowed(request)
        return await self._methods.call(request, *found)

    async def read(self, request: Request) -> Response:
        """Answer GET of `/v1/{name=**/operations/*}` and of the list `/v1/{name=**}/operations`."""
        resource = _resource(request)
        query, presentation = query_parameters(request)
        if _WATCH_PATH.search(request.scope["raw_path"]):
            watched = resource.removesuffix(_WATCH)
            return await self._watch(request, watched, query, replace(presentation, pretty=False))
        if (parent := _parent(resource)) is not None:
            arguments = merged(parent, query) if parent else query
            return await self._list(request, arguments, presentation)
        name_request = requests.parse_get(merged(resource, query))
        operation = await self._service.get(caller_of(request), name_request)
        return read_response(request, operation, presentation)

    async def _watch(
        self, request: Request, name: str, query: dict[str, Any], presentation: Presentation
    ) -> Response:
        """Answer GET of `...:watch` with events for the changes of an operation or of a list."""
        if (parent := _parent(name)) is not None:
            listed = requests.parse_list(merged(parent, query) if parent else query)
            changes = self._service.watch_list(
                caller_of(request), listed, shown_by(presentation), every=KEEPALIVE_INTERVAL
            )
            return await list_events(request, changes, presentation)
        name_request = requests.parse_get(merged(name, query))
        sightings = self._service.watch(caller_of(request), name_request, every=KEEPALIVE_INTERVAL)
        return await operation_events(request, sightings, presentation)

    async def _list(
        self, request: Request, arguments: dict[str, Any], presentation: Presentation
    ) -> Response:
        page = await self._service.list(caller_of(request), requests.parse_list(arguments))
        return tagged_response(request, page.to_json(presentation.options), presentation)

    async def delete(self, request: Request) -> Response:
        """Answer DELETE of `/v1/{name=**/operations/*}` with `{}`."""
        query, presentation = query_parameters(request)
        arguments = merged(_resource(request), query)
        deletion = requests.parse_delete(arguments)
        await self._service.delete(
            caller_of(request), replace(deletion, confirmed=is_confirmed(request))
        )
        return json_response({}, presentation)

    async def act(self, request: Request) -> Response:
        """Answer POST of `...:cancel` with `{}`, and of `...:wait` with the operation."""
        name, _, verb = _resource(request).rpartition(":")
        if verb not in _ACTIONS or not name:
            raise unknown_path(request)
        query, presentation = query_parameters(request)
        arguments = merged(name, query, await json_body(request))
        if verb == "cancel":
            cancellation = requests.parse_cancel(arguments)
            await self._service.cancel(
                caller_of(request), replace(cancellation, confirmed=is_confirmed(request))
            )
            return json_response({}, presentation)
        waiting = self._service.wait(caller_of(request), requests.parse_wait(arguments))
        operation = await unless_disconnected(request.receive, waiting)
        return operation_response(operation, presentation)


def _is_of_operations(request: Request) -> bool:
    """Tell whether a path has a full name, or `-` and the name in the query."""
    raw: bytes = request.scope["raw_path"]
    if _FULL_NAME.match(raw):
        return True
    return _NAME_IN_FIELD.match(raw) is not None and "name" in request.query_params


def _operation_of(request: Request) -> tuple[str, bool]:
    """Return the operation's name in a path, and whether the request is a cancel or a wait.

    The name is empty if no RPC of Operations has this path with this HTTP verb.
    """
    if not _has_version(request):
        return "", False
    resource = resource_path(request)
    if resource.partition(":")[0] == NAME_IN_FIELD and "name" in request.query_params:
        resource = request.query_params["name"] + resource.removeprefix(NAME_IN_FIELD)
    if request.method == "POST":
        name, _, verb = resource.rpartition(":")
        return (name, True) if verb in _ACTIONS and name else ("", False)
    return (resource if request.method in {"GET", "HEAD", "DELETE"} else ""), False


def _parent(resource: str) -> str | None:
    """Return the parent in `{parent}/operations`, "" for `operations`, or None for other paths."""
    if resource == _COLLECTION:
        return ""
    parent = resource.removesuffix("/" + _COLLECTION)
    return parent if parent != resource else None


def _resource(request: Request) -> str:
    if not _has_version(request):
        raise unknown_path(request)
    return resource_path(request)


def _has_version(request: Request) -> bool:
    """Tell whether the first segment of the path is a version without percent-encoding.

    Clients never encode a version.
    """
    raw: bytes = request.scope["raw_path"]
    version: str = request.path_params["version"]
    return VERSION.match(version) is not None and raw.startswith(f"/{version}/".encode())


def stopped(method: str) -> StatusError:
    """Make the error UNAVAILABLE for a request that is still running when the gateway stops."""
    consequence = "the backend has not answered yet, so send the request again"
    return shutting_down(consequence, {"method": method})
