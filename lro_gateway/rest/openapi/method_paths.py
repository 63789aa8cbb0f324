"""Describes each route of the backends' methods as an operation of an OpenAPI document."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from lro_gateway.background import Steps
from lro_gateway.descriptors import well_known
from lro_gateway.descriptors.announced import payload_schemas
from lro_gateway.descriptors.field_paths import FieldPath, default_json
from lro_gateway.descriptors.http_rules import WHOLE, PathField
from lro_gateway.descriptors.http_templates import Variable, Wildcard
from lro_gateway.descriptors.schema import Schema
from lro_gateway.errors import shown_name
from lro_gateway.rest.errors import REPEAT_HEADER, REQUEST_ID_HEADER
from lro_gateway.rest.method_routes import VERBS
from lro_gateway.rest.openapi.components import SCHEMAS, Components, Scope, Use
from lro_gateway.rest.parameters import SYSTEM
from lro_gateway.rest.route_table import ANY_VERB, Route
from lro_gateway.rest.transcoding import query_parameters
from lro_gateway.service.catalog import Offer, backend_argument

logger: Final = logging.getLogger(__name__)

ERROR: Final = {"$ref": "#/components/responses/error"}
OPERATION_HEADERS: Final[dict[str, Any]] = {"ETag": {"$ref": "#/components/headers/ETag"}}
_REQUEST_ID: Final = {REQUEST_ID_HEADER: {"$ref": f"#/components/headers/{REQUEST_ID_HEADER}"}}
_REPEAT: Final = {REPEAT_HEADER: {"$ref": f"#/components/headers/{REPEAT_HEADER}"}}
_OPERATION: Final = {"$ref": SCHEMAS + "google.longrunning.Operation"}
_DESCRIBED: Final = tuple(verb for verb in VERBS if verb != "HEAD")
"""The HTTP verbs that describe a rule for every verb. HEAD is left out, because it repeats GET."""
_RAW: Final = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
"""The content of a google.api.HttpBody, whose type is known only when it is sent."""
_PARAMETER: Final = re.compile(r"\{([^}]*)\}")


class MethodPaths:
    """Adds the routes of methods to the paths of a document. `offers` maps names to offers."""

    def __init__(
        self, paths: dict[str, dict[str, Any]], components: Components, offers: Mapping[str, Offer]
    ) -> None:
        self._paths = paths
        self._components = components
        self._by_method = {offer.method.full_name: offer for offer in offers.values()}
        self._templates = {_shape(path): path for path in paths}
        self._operations = dict.fromkeys(offers, 0)

    def adding(self, routes: Iterable[Route]) -> Steps[None]:
        """Return the steps that add routes.

        Routes for any HTTP verb are last, because they get only unused verbs.
        """
        for route in sorted(routes, key=lambda route: route.rule.verb == ANY_VERB):
            yield
            try:
                self._add(route, self._by_method[route.method.full_name])
            except Exception:
                # If one method cannot be described, the document still describes the others.
                logger.exception("%s is left out of the OpenAPI document", route.method.path)

    def _add(self, route: Route, offer: Offer) -> None:
        """Add a route to its path. Paths are the same if only the names of parameters differ.

        If another route already has the path and the HTTP verb, its description names this route
        too. This happens if one template has `*` where the other has `**`, because OpenAPI does not
        distinguish them.
        """
        own = route.rule.template.openapi_path()
        path = self._templates.setdefault(_shape(own), own)
        item = self._paths.setdefault(path, {})
        is_any = route.rule.verb == ANY_VERB
        for verb in _DESCRIBED if is_any else (route.rule.verb,):
            existing = item.get(verb.lower())
            if existing is None:
                names = _PARAMETER.findall(path)
                described = _MethodRoute(route, offer, self._components).operation(names)
                item[verb.lower()] = {"operationId": self._operation_id(offer), **described}
            elif not is_any:
                shared = f"{route.rule.template.text} of {route.method.path} has the same path;"
                texts = (
                    existing.get("description", ""),
                    shared,
                    "the more specific template, or the parameter backend, decides.",
                )
                existing["description"] = " ".join(filter(None, texts))

    def _operation_id(self, offer: Offer) -> str:
        """Return the offer's name for its first route. Add a number for each later route."""
        self._operations[offer.name] += 1
        if self._operations[offer.name] == 1:
            return offer.name
        while (name := f"{offer.name}_{self._operations[offer.name]}") in self._operations:
            self._operations[offer.name] += 1
        return name


def _shape(path: str) -> str:
    return _PARAMETER.sub("{}", path)


class _MethodRoute:
    """One route of an offer, described as an OpenAPI operation."""

    def __init__(self, route: Route, offer: Offer, components: Components) -> None:
        self._route = route
        self._rule = route.rule
        self._offer = offer
        self._method = offer.method
        self._comments = offer.types.comments
        self._sent = components.scope(offer.types, Use.of_request(self._method.request))
        self._printed = components.scope(offer.types, Use.PRINTED)
        self._request = self._sent.message(self._method.request)

    def operation(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the OpenAPI operation; `names` are the names of the path's parameters."""
        method = self._method
        described: dict[str, Any] = {
            "summary": " ".join(method.words).capitalize(),
            "description": self._comments.of_name(method.full_name) or f"Calls {method.path}.",
            "tags": [method.service],
            "parameters": [*self._path_parameters(names), *self._other_parameters()],
        }
        if method.deprecated:
            described["deprecated"] = True
        if body := self._body():
            described["requestBody"] = body
        return {**described, "responses": {"200": self._response(), "default": ERROR}}

    def _path_parameters(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        template = self._rule.template
        fields = {each.name: each for each in self._rule.path_fields}
        for name, parameter in zip(names, template.path_parameters(), strict=True):
            described: dict[str, Any] = {"schema": {"type": "string"}}
            if parameter.field_path:
                described = self._variable(fields[parameter.field_path], names)
            if parameter.wildcard is Wildcard.MANY:
                texts = (described.get("description", ""), "It may contain slashes.")
                described["description"] = " ".join(filter(None, texts))
            yield {"name": name, "in": "path", "required": True, **described}

    def _variable(self, field: PathField, names: Sequence[str]) -> dict[str, Any]:
        """Describe a path parameter whose value is a field of the request, or a part of one."""
        variable = field.variable
        found = _inside(self._sent, self._request, field.path)[0] or {"type": "string"}
        if variable.end - variable.start == 1:
            return _described(found)
        part = f"A part of {field.name}, which is {shown_name(self._template_of(variable, names))}."
        description = " ".join(filter(None, (part, found.get("description", ""))))
        return {"description": description, "schema": {"type": "string"}}

    def _template_of(self, variable: Variable, names: Sequence[str]) -> str:
        """Return the part of the path that a variable matches, such as `shelves/{shelvesId}`."""
        remaining = iter(names)
        parts = [
            f"{{{next(remaining)}}}" if isinstance(segment, Wildcard) else segment
            for segment in self._rule.template.segments
        ]
        return "/".join(parts[variable.start : variable.end])

    def _other_parameters(self) -> Iterator[dict[str, Any]]:
        method, given = self._method, set()
        for parameter in query_parameters(self._route):
            schema, required = _inside(self._sent, self._request, parameter.path)
            if schema is None:
                continue  # The field is OUTPUT_ONLY, so callers do not send it.
            given.add(parameter.name)
            described = {"name": parameter.name, "in": "query", **_described(schema)}
            yield {**described, "required": True} if required else described
        if len(self._offer.backends) > 1:
            yield {
                "name": backend_argument(method),
                "in": "query",
                "schema": {"type": "string", "enum": list(self._offer.backends)},
                "description": "The backend to call, if no name in the request identifies it.",
            }
        # A response that is not JSON has one form only.
        for name in () if self._rule.answers_raw else SYSTEM:
            if name not in given:
                yield {"$ref": f"#/components/parameters/{name}"}
        if method.is_long_running or self._offer.approval:
            yield {"$ref": "#/components/parameters/idempotencyKey"}
        if self._offer.confirm:
            yield {"$ref": "#/components/parameters/confirmed"}

    def _body(self) -> dict[str, Any]:
        body_path = self._rule.body
        if body_path is None:
            return {}
        if self._rule.takes_raw:
            return {"content": _RAW, "required": True}
        request = self._request
        for field in self._rule.path_fields:
            request = _without(self._sent, request, [self._sent.key(each) for each in field.path])
        if body_path == WHOLE:
            return _json(request, required=bool(request.get("required")))
        schema, required = _inside(self._sent, request, body_path)
        described = _described({} if schema is None else schema)
        body = _json(described.pop("schema"), required=required)
        return {**described, **body}

    def _response(self) -> dict[str, Any]:
        method = self._method
        request_id = _REQUEST_ID if method.idempotency_key is not None else {}
        if method.is_long_running:
            headers = {**OPERATION_HEADERS, **request_id, **_REPEAT}
            return {"description": "The operation.", "headers": headers, **_json(self._started())}
        headers = {"headers": request_id} if request_id else {}
        text = self._comments.of_name(method.response.full_name) or "The response."
        content = {"content": _RAW} if self._rule.answers_raw else _json(self._responded())
        return {"description": text, **headers, **content}

    def _started(self) -> Schema:
        """Return the schema of an Operation, with the payload types that the method announces."""
        payloads = payload_schemas(self._method, self._offer.types, self._printed.payload)
        return {"allOf": [_OPERATION, {"properties": payloads}]} if payloads else _OPERATION

    def _responded(self) -> Schema:
        """Return the schema of a plain response, or of the field that `response_body` names."""
        response, path = self._method.response, self._rule.response_body
        if response.full_name in well_known.BARE:
            value: Schema = self._printed.message(response)["properties"]["value"]
            return value
        schema = self._printed.reference(response)
        if path == WHOLE:
            return schema
        inner = _inside(self._printed, schema, path)[0] or {}
        return {"anyOf": [inner, {"type": "null"}]} if default_json(path[-1]) is None else inner


def _inside(scope: Scope, schema: Schema, path: FieldPath) -> tuple[Schema | None, bool]:
    """Return the schema of the field at a path, and whether every field on the path is required.

    The schema is None if the document leaves the field out.
    """
    found: Schema | None = schema
    required = True
    for each in path:
        outer, key = scope.target(found or {}), scope.key(each)
        required = required and key in outer.get("required", ())
        found = outer.get("properties", {}).get(key)
        if found is None:
            return None, False
    return found, required


def _without(scope: Scope, schema: Schema, names: Sequence[str]) -> Schema:
    """Return a copy of a schema. Omit the field at a path, and the rules about that field."""
    outer = dict(scope.target(schema))
    name, *inside = names
    properties = dict(outer.get("properties", {}))
    if inside and name in properties:
        properties[name] = _without(scope, properties[name], inside)
    else:
        properties.pop(name, None)
    outer["properties"] = properties
    # The URL gives this field or a part of it, so the body need not have the field.
    for key, kept in (
        ("required", [each for each in outer.get("required", ()) if each != name]),
        (
            "dependentSchemas",
            {k: v for k, v in outer.get("dependentSchemas", {}).items() if k != name},
        ),
    ):
        outer.pop(key, None)
        if kept:
            outer[key] = kept
    return outer


def _described(schema: Schema) -> dict[str, Any]:
    """Move the description of a schema beside the schema, because OpenAPI shows it there."""
    bare = {key: value for key, value in schema.items() if key != "description"}
    if not schema.get("description"):
        return {"schema": bare}
    return {"description": schema["description"], "schema": bare}


def _json(schema: Schema, *, required: bool = False) -> dict[str, Any]:
    content = {"content": {"application/json": {"schema": schema}}}
    return {**content, "required": True} if required else content
