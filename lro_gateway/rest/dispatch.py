"""Decides which route answers a request: one of google.longrunning.Operations, or a method's.

The most specific template decides. Methods and Operations compare as two methods do, with one
exception: if the `**` of a method's template matches the segment `operations`, or the end of a name
that a backend's pattern matches, Operations answers. So such a template takes no operation away.

If a backend's pattern matches the name of an operation, or only one backend can have it, no method
of another backend answers instead. If the caller names a backend, only that backend answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lro_gateway.access.policy import Verb
from lro_gateway.descriptors.http_templates import Wildcard
from lro_gateway.errors import Code, StatusError
from lro_gateway.operations.operation import BackendStatusError
from lro_gateway.rest.approval_routes import ApprovalRoutes
from lro_gateway.rest.caller import caller_of, is_refused
from lro_gateway.rest.console.routes import READING, root
from lro_gateway.rest.errors import answer_to, not_allowed, unknown_path
from lro_gateway.rest.method_routes import VERBS, MethodRoutes
from lro_gateway.rest.operation_paths import (
    OPERATION_VERBS,
    OperationPath,
    decoded_whole,
    is_mine,
    operation_path,
)
from lro_gateway.rest.operation_routes import OperationRoutes, name_in, parent_in
from lro_gateway.rest.route_table import PathRoutes, RouteTable
from lro_gateway.rest.route_table import Route as MethodRoute
from lro_gateway.rest.suggestions import OWN_PAGES, suggested_path
from lro_gateway.service.catalog import Offer, backend_argument
from lro_gateway.service.service import OperationService
from lro_gateway.service.shutdown import shutting_down
from lro_gateway.telemetry.tracing import callers_trace

_UNKNOWN: Final = frozenset({Code.NOT_FOUND, Code.UNIMPLEMENTED})
"""The codes with which a backend refuses a name that is not the name of an operation."""
_UNROUTABLE: Final = frozenset({"AMBIGUOUS_NAME", "UNROUTABLE_NAME"})
"""The error reasons for a name from which the gateway cannot choose one backend."""
_OWN_VERBS: Final = frozenset(OPERATION_VERBS)
_BACKEND: Final = "backend"
_NAME: Final = "name"
_ANY_PATH: Final = re.compile(
    rf"(?!(?:{'|'.join(map(re.escape, OWN_PAGES))})\Z)(?P<path>.*)\Z", re.DOTALL
)
_VERSIONED_PATH: Final = re.compile(rb"/v[1-9][^/]*/")


class Dispatch:
    """Answers the requests of all paths of methods and operations."""

    def __init__(self, service: OperationService, methods: MethodRoutes) -> None:
        self._service = service
        self._methods = methods
        self._operations = OperationRoutes(service)
        approvals = service.approvals
        self._approvals = ApprovalRoutes(approvals, self._operations) if approvals else None

    def route(self) -> Route:
        """Return the route for all paths but the gateway's own pages. It must be the last route."""
        route = Route("/{path:path}", self)
        # Starlette's own pattern does not match a line break. A name with a line break must reach
        # the handler, because the handler refuses it as a malformed name.
        route.path_regex = _ANY_PATH
        # The HTTP verbs of a path depend on the methods, so the handler checks them.
        route.methods = None
        return route

    @staticmethod
    def is_sure_of(scope: Scope) -> bool:
        """Return whether the path of a request begins with a version. No other route has those."""
        return _VERSIONED_PATH.match(scope["raw_path"]) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, if necessary with Google's error body."""
        request = Request(scope, receive, send)
        try:
            response = await self.handle(request)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - answer_to logs what is unexpected
            response = await answer_to(error, request)
        del request  # A stream may last for hours.
        await response(scope, receive, send)

    async def handle(self, request: Request) -> Response:
        """Answer a request. Raise UNAVAILABLE if the gateway stops before the response is ready."""
        try:
            with callers_trace(request.scope["headers"]):
                return await self._handle(request)
        except asyncio.CancelledError:
            if not self._service.shutdown.has_begun:
                raise
            # The server cancels requests after its grace period, but still sends their responses.
            raise stopped(request.method) from None

    async def _handle(self, request: Request) -> Response:
        if is_mine(request.scope["raw_path"]):
            return await self._operations.mine(request)
        if self._approvals is not None and (answer := await self._approvals.answer(request)):
            return answer
        request = await self._with_slashes(request)
        path = operation_path(request.scope["raw_path"])
        operation = None
        if path is not None and request.method in path.verbs:
            operation = _Operation(self._service, request, path)
        if operation is not None and operation.is_explicit:
            return await self._operations.answer(request, operation.path)
        if operation is None or operation.path.at is None:
            return await self._by_method(request, path, operation)
        # This read must be quick, so it does not wait for backends whose methods are unknown.
        offers = await self._service.catalog.offers_soon(operation.needed_backends)
        found = _find(await self._methods.table_of(offers), request, path)
        if called := await self._methods.choose(request, found, operation.wins_over):
            return await self._methods.call(request, *called)
        return await self._operations.answer(request, operation.path)

    async def _with_slashes(self, request: Request) -> Request:
        """Restore the slashes of a name that the client has encoded whole.

        A route of a method whose variable is one segment gets the segment as it is.
        """
        whole = decoded_whole(request.scope["raw_path"])
        if whole is None:
            return request
        meant = operation_path(whole)
        if meant is None or meant.at is None:
            table = await self._methods.table()
            found = _find(table, request, operation_path(request.scope["raw_path"]))
            if await self._methods.is_claimed(request, found):
                return request
        return Request({**request.scope, "raw_path": whole}, request.receive)

    async def _by_method(
        self, request: Request, path: OperationPath | None, operation: _Operation | None
    ) -> Response:
        """Answer a request by a method, or by Operations if no method has the path."""
        # The path of the scope has the prefix of a proxy, and the raw path does not.
        path_alone = request.scope["raw_path"].partition(b"?")[0]
        is_root = path_alone == b"/" and request.method in READING
        if is_root and is_refused(request):
            return root(request, has_approvals=self._approvals is not None)
        wins_over = operation.wins_over if operation is not None else None
        # A method that is known must not wait long for backends whose methods are unknown.
        needed = partial(self._service.backend_names, caller_of(request))
        offers = await self._service.catalog.offers_soon(needed)
        table = await self._methods.table_of(offers)
        found = _find(table, request, path)
        called = await self._methods.choose(request, found, wins_over)
        if called is None and is_root:
            return root(request, has_approvals=self._approvals is not None)
        if called is None:
            # If a backend's patterns match the name, other backends do not have the method.
            is_owned = operation is not None and operation.is_owned
            of = operation.needed_backends() if operation is not None and is_owned else None
            complete = await self._methods.table(of=of, wait_for_all=not is_owned)
            if complete is not table:
                found = _find(complete, request, path)
                called = await self._methods.choose(request, found, wins_over)
        if called is not None:
            return await self._methods.call(request, *called)
        routes = await self._methods.visible(request, found)
        is_methods = any(_ends_definitely(found, path, route) for route in routes)
        if operation is not None and (operation.is_certain or not is_methods):
            return await self._by_operations(request, operation)
        refusal = self._refusal(request, path, routes, is_methods=is_methods)
        if request.method not in VERBS or (path is not None and path.is_full):
            raise refusal
        raise self._service.unreached(caller_of(request)) or refusal

    async def _by_operations(self, request: Request, operation: _Operation) -> Response:
        """Answer by Operations a request that may also be for a method that is not known yet."""
        try:
            return await self._operations.answer(request, operation.path)
        except StatusError as error:
            if operation.is_owned or _BACKEND in request.query_params:
                raise
            if error.code in _UNKNOWN or error.reason in _UNROUTABLE:
                unreached = self._service.unreached(caller_of(request))
                raise unreached or _suggesting(request, error) from None
            raise _suggesting(request, error) from None

    def _permitted(self, request: Request, path: OperationPath) -> list[str]:
        """Return the HTTP verbs of a path of operations that the caller may ever use."""
        caller, views = caller_of(request), self._service.views
        return [each for each in path.verbs if views.may_ever(caller, _verb_of(path, each))]

    def _refusal(
        self,
        request: Request,
        path: OperationPath | None,
        routes: Iterable[MethodRoute],
        *,
        is_methods: bool,
    ) -> Exception:
        """Return a 405 if the path has other HTTP verbs, and otherwise a 404."""
        verbs = self._methods.verbs(routes)
        if not verbs and request.method == "POST" and suggested_path(request.scope["raw_path"]):
            return unknown_path(request)
        if path is not None:
            # A POST of another path is more likely a start with a wrong path.
            may_be_a_name = not is_methods and (request.method != "POST" or verbs)
            if may_be_a_name or _Operation(self._service, request, path).is_certain:
                verbs.update(self._permitted(request, path))
        return not_allowed(verbs) if verbs else unknown_path(request)


def _verb_of(path: OperationPath, method: str) -> Verb:
    """Return the verb of operations that an HTTP verb means at a path."""
    if path.is_list:
        return Verb.LIST
    if path.custom_verb:
        return Verb.CANCEL if path.custom_verb == "cancel" else Verb.WAIT
    return Verb.DELETE if method == "DELETE" else Verb.GET


@dataclass(slots=True)
class _Operation:
    """The operation, or the list of operations, that a request means if it calls no method."""

    service: OperationService
    request: Request
    path: OperationPath

    @property
    def name(self) -> str:
        """The name in the path or the query, or an empty text if the path is not UTF-8."""
        if self.path.is_in_field and _NAME in self.request.query_params:
            return self.request.query_params[_NAME]
        try:
            return name_in(self.request, self.path)
        except StatusError:
            return ""

    @property
    def is_explicit(self) -> bool:
        """Whether the path has a full name, or `-` while the query has the name."""
        in_query = self.path.is_in_field and _NAME in self.request.query_params
        return self.path.is_full or in_query

    @property
    def is_owned(self) -> bool:
        """Whether a pattern of a backend matches the name, or the name is a full name."""
        return self.service.owns(caller_of(self.request), self.name)

    @property
    def is_certain(self) -> bool:
        """Whether the path has `operations`, a custom verb of Operations, or an owned name."""
        return self.path.at is not None or bool(self.path.custom_verb) or self.is_owned

    def backend(self, argument: str = _BACKEND) -> str | None:
        """Return the backend that a parameter of the query names, if there is such a backend."""
        if not self.request.scope["query_string"]:
            return None
        given = self.request.query_params.get(argument)
        return given if given in self.service.backend_names(caller_of(self.request)) else None

    def needed_backends(self) -> Iterable[str]:
        """Return the backends whose methods may answer the request."""
        if (backend := self.backend()) is not None:
            return (backend,)
        if self.is_owned:
            owner = self.service.owner(caller_of(self.request), self.name)
            return () if owner is None else (owner,)
        return self.service.backend_names(caller_of(self.request))

    def wins_over(self, found: PathRoutes, route: MethodRoute, offer: Offer) -> bool:
        """Return whether Operations answers the request and not this method."""
        backend = self.backend(backend_argument(offer.method))
        if backend is not None and backend not in offer.backends:
            return True
        at = self.path.last if self.path.at is None and self.is_owned else self.path.at
        if at is None or (route.rule.template.verb and not self.path.custom_verb):
            # A custom verb that only methods have is no part of an operation's name.
            return False
        segment = found.segment_at(route, at)
        if segment is Wildcard.MANY:
            return True
        if backend is not None or (segment is Wildcard.ONE and not self.is_owned):
            return False
        owners = self._owners()
        return bool(owners) and owners.isdisjoint(offer.backends)

    def _owners(self) -> frozenset[str]:
        """Return the backends to which the name or the parent belongs, if only some can have it."""
        caller = caller_of(self.request)
        if self.path.is_list:
            parent = parent_in(self.name)
            return self.service.owners(caller, [parent]) if parent else frozenset()
        owner = self.service.owner(caller, self.name)
        return frozenset() if owner is None else frozenset([owner])


def _find(table: RouteTable, request: Request, path: OperationPath | None) -> PathRoutes:
    """Return the routes of a path. No name in a path with a version ends with a custom verb."""
    own_verbs = frozenset[str]() if path is None else _OWN_VERBS
    return table.find(request.scope["raw_path"], own_verbs)


def _ends_definitely(found: PathRoutes, path: OperationPath | None, route: MethodRoute) -> bool:
    """Return whether a template says more about the end of a path than `**`.

    A custom verb says more.
    """
    is_open = path is not None and found.segment_at(route, path.last) is Wildcard.MANY
    return not is_open or bool(route.rule.template.verb)


def _suggesting(request: Request, error: StatusError) -> StatusError:
    """Return a 404 with a suggestion if a path looks misspelt. Return the error if it does not."""
    if suggested_path(request.scope["raw_path"]) is None:
        return error
    if isinstance(error, BackendStatusError):
        is_unknown = error.code in _UNKNOWN or error.code is Code.INVALID_ARGUMENT
        return unknown_path(request, answer=error.message) if is_unknown else error
    is_unknown = error.code in _UNKNOWN or error.reason in _UNROUTABLE
    return unknown_path(request) if is_unknown else error


def stopped(method: str) -> StatusError:
    """Make the error UNAVAILABLE for a request that is still running when the gateway stops."""
    consequence = (
        "the backend has not answered yet, so send the request again"
        if method in {"GET", "HEAD"}
        else "the backend has not answered yet, so read the current state before you send the"
        " request again"
    )
    return shutting_down(consequence, {"method": method})
