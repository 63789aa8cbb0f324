"""The OpenAPI 3.1 document of the REST face. Its schemas come from protobuf messages."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from lro_gateway.access.policy import Verb
from lro_gateway.background import Steps, completed
from lro_gateway.descriptors.schema import Schema
from lro_gateway.rest.errors import REPEAT_HEADER, REQUEST_ID_HEADER
from lro_gateway.rest.openapi.allowed_paths import EVERY_VERB, allowed
from lro_gateway.rest.openapi.components import SCHEMAS, Components
from lro_gateway.rest.openapi.method_paths import ERROR, OPERATION_HEADERS, MethodPaths
from lro_gateway.rest.openapi.mine_path import MINE_PATH
from lro_gateway.rest.openapi.own_schemas import own_schemas
from lro_gateway.rest.parameters import CONFIRMED_HEADER, SUMMARY, SYSTEM
from lro_gateway.rest.route_table import RouteTable
from lro_gateway.service.catalog import Offer
from lro_gateway.service.verb_requests import STATES

_NAME: Final = "databases/orders/operations/9f1c"

RUNNING_EXAMPLE: Final = {
    "name": _NAME,
    "metadata": {
        "@type": "type.googleapis.com/lro_gateway.demo.v1.BackupDatabaseMetadata",
        "createTime": "2026-01-02T03:04:05Z",
        "progressPercent": 42,
    },
    "done": False,
}
_DONE_EXAMPLE: Final = {
    "name": _NAME,
    "done": True,
    "response": {
        "@type": "type.googleapis.com/lro_gateway.demo.v1.Backup",
        "name": "databases/orders/backups/monday",
        "sizeBytes": "40960",
    },
}
_FAILED_EXAMPLE: Final = {
    "name": _NAME,
    "done": True,
    "error": {"code": 15, "message": "the database is damaged"},
}
_ERROR_EXAMPLE: Final = {
    "error": {
        "code": 404,
        "message": "there is no such operation",
        "status": "NOT_FOUND",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "OPERATION_NOT_FOUND",
                "domain": "demo.lro-gateway.dev",
            }
        ],
    }
}


def openapi_document(
    backends: tuple[str, ...],
    version: str,
    resources: Mapping[str, Any] | None = None,
    table: RouteTable | None = None,
    offers: Mapping[str, Offer] | None = None,
) -> dict[str, Any]:
    """Return the document; `backends` are the values that the parameter `backend` may have.

    `resources` is an OpenAPI document whose paths and components this one includes. `table` has
    the routes of the `offers`.
    """
    return completed(describing(backends, version, resources, table, offers))


def describing(
    backends: tuple[str, ...],
    version: str,
    resources: Mapping[str, Any] | None = None,
    table: RouteTable | None = None,
    offers: Mapping[str, Offer] | None = None,
    verbs: AbstractSet[Verb] = EVERY_VERB,
) -> Steps[dict[str, Any]]:
    """Return the steps of `openapi_document`. It has the paths of these verbs of operations."""
    # Copy `resources`, because this function adds the routes of methods to the paths.
    included = copy.deepcopy(dict(resources or {}))
    included_components = included.get("components", {})
    paths = allowed({**_paths(), **included.get("paths", {})}, verbs)
    components = Components({**own_schemas(), **included_components.get("schemas", {})})
    for types in {offer.types for offer in (offers or {}).values()}:
        yield from types.reading_comments()
    visible = {offer.method.full_name for offer in (offers or {}).values()}
    routes = [route for route in table.routes if route.method.full_name in visible] if table else []
    yield from MethodPaths(paths, components, offers or {}).adding(routes)
    paths, schemas = yield from components.finishing(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lro-gateway",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": (
                "Long-running operations of gRPC services, as google.longrunning.Operations over"
                " HTTP. Their paths may begin with any version, such as v1, v2 or v1beta1. Agents"
                " use the same operations and methods over MCP, at [/mcp](mcp). [The page of the"
                " gateway](.) shows the operations live."
            ),
        },
        "tags": _tags(offers or {}),
        "paths": paths,
        "components": {
            **included_components,
            "schemas": schemas,
            "parameters": _parameters(backends),
            "headers": _HEADERS,
            "responses": {"error": _ERROR_RESPONSE},
        },
    }


def _tags(offers: Mapping[str, Offer]) -> list[dict[str, str]]:
    """Return a tag with a description for each service that has a comment."""
    services = {offer.method.service: offer.types.comments for offer in offers.values()}
    return [
        {"name": name, "description": text}
        for name, comments in sorted(services.items())
        if (text := comments.of_name(name))
    ]


_IN_PATH: Final = {
    "name": (
        (
            "The operation's name. It may contain slashes. If it cannot be in a path, write - here,"
            " and pass it as the query parameter name."
        ),
        _NAME,
    ),
    "parent": (
        "The resource whose operations are listed. It may contain slashes.",
        "databases/orders",
    ),
}
"""The description and an example of each parameter of a path."""
_IN_QUERY: Final[Mapping[str, tuple[Schema, str]]] = {
    "filter": ({"type": "string"}, "A filter, in the syntax of the backend."),
    "state": (
        {"type": "string", "enum": ["", *STATES]},
        (
            "The state of the operations to list; all if it is empty."
            " A page may be empty and have a nextPageToken."
        ),
    ),
    "pageSize": (
        {"type": "integer", "minimum": 0},
        "The maximum number of operations to return. If it is 0, the backend decides.",
    ),
    "pageToken": ({"type": "string"}, "The nextPageToken of the previous page."),
    "returnPartialSuccess": (
        {"type": "boolean"},
        "If a backend fails, return the other operations, and name the backend in unreachable.",
    ),
    "fields": (
        {"type": "string", "examples": ["name,done"]},
        "The fields to return, such as name,done. If it is empty, all fields are returned.",
    ),
    "summary": (
        {"type": "boolean"},
        "Whether each operation has a member summary: its state, progress and times.",
    ),
    "prettyPrint": ({"type": "boolean", "default": True}, "Whether the JSON is indented."),
    "alt": (
        {"type": "string", "enum": ["json", "json;enum-encoding=int"]},
        "The form of enums: names with json, numbers with json;enum-encoding=int.",
    ),
}
"""The schema and the description of each parameter of a query."""
_CONFIRMED_PARAMETER: Final = {
    "name": CONFIRMED_HEADER,
    "in": "header",
    "description": (
        "Set it to true if a person has agreed to the call. The gateway needs it only for calls"
        " that its setting confirm lists."
    ),
    "schema": {"type": "boolean"},
}


_KEY_PARAMETER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        "A key of your choice, such as a UUID. A repeat of the same request with the same key"
        " starts nothing, and returns the operation of the first one. The gateway needs a store for"
        " this."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def _parameters(backends: tuple[str, ...]) -> dict[str, Any]:
    backend_schema: Schema = {"type": "string"}
    if backends:
        backend_schema["enum"] = ["", *backends]
    queries = {
        "backend": (backend_schema, "The backend to call, if the name does not identify it."),
        **_IN_QUERY,
    }
    return {
        **{name: _path(name, *described) for name, described in _IN_PATH.items()},
        "confirmed": _CONFIRMED_PARAMETER,
        "idempotencyKey": _KEY_PARAMETER,
        **{name: _query(name, *described) for name, described in queries.items()},
    }


def _path(name: str, description: str, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


def _query(name: str, schema: Schema, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


_SYSTEM: Final = ("backend", *SYSTEM)
_READING: Final = (*_SYSTEM, SUMMARY)
_CONFIRMED: Final = (*_SYSTEM, "confirmed")
_LIST: Final = ("filter", "state", "pageSize", "pageToken", "returnPartialSuccess")


def _paths() -> dict[str, Any]:
    listing = ("ListOperations", _list_response(), (*_LIST, *_READING))
    getting = ("Get the latest state of an operation", "GetOperation", _operation_response())
    deleting = ("Delete an operation without cancelling it", "DeleteOperation", _empty_response())
    cancelling = ("Request the cancellation of an operation", "CancelOperation", _empty_response())
    waiting = ("Wait until an operation is done", "WaitOperation", _operation_response())
    return {
        "/v1/operations": {"get": _operation("List operations", *listing, suffix="OfAllBackends")},
        "/v1/{parent}/operations": {
            "get": _operation("List the operations of a resource", *listing, path=("parent",))
        },
        "/v1/{name}": {
            "get": _operation(*getting, _READING, path=("name",)),
            "delete": _operation(*deleting, _CONFIRMED, path=("name",)),
        },
        "/v1/{name}:cancel": {"post": _operation(*cancelling, _CONFIRMED, path=("name",))},
        "/v1/{name}:wait": {
            "post": {
                **_operation(*waiting, _READING, path=("name",)),
                "requestBody": _json(
                    {"$ref": SCHEMAS + "google.longrunning.WaitOperationRequest"},
                    {"timeout": {"value": {"timeout": "30s"}}},
                ),
            }
        },
        "/v1/operations:mine": MINE_PATH,
        "/v1/operations:watch": {
            "get": _events("a list of operations", "WatchAllOperations", (*_LIST, *_READING))
        },
        "/v1/{parent}/operations:watch": {
            "get": _events(
                "the operations of a resource",
                "WatchOperations",
                (*_LIST, *_READING),
                path=("parent",),
            )
        },
        "/v1/{name}:watch": {
            "get": _events("an operation", "WatchOperation", _READING, path=("name",))
        },
    }


def _operation(
    summary: str,
    rpc: str,
    response: dict[str, Any],
    parameters: tuple[str, ...],
    *,
    path: tuple[str, ...] = (),
    suffix: str = "",
) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": rpc + suffix,
        "tags": ["operations"],
        "parameters": [
            {"$ref": f"#/components/parameters/{name}"} for name in (*path, *parameters)
        ],
        "responses": {"200": response, "default": ERROR},
    }


def _events(
    what: str, operation_id: str, parameters: tuple[str, ...], *, path: tuple[str, ...] = ()
) -> dict[str, Any]:
    events = {
        "description": "One event `operation` for each state. Its data is the Operation as JSON.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    summary = f"Watch {what} by server-sent events"
    return _operation(summary, operation_id, events, parameters, path=path)


def _json(schema: Schema, examples: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema, "examples": examples}}}


_HEADERS: Final = {
    REPEAT_HEADER: {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "An earlier request with the same Idempotency-Key has started it.",
    },
    "ETag": {
        "schema": {"type": "string"},
        "description": "Send it in If-None-Match of a get, to get 304 until the operation changes.",
    },
    REQUEST_ID_HEADER: {
        "schema": {"type": "string"},
        "description": "The request_id that the gateway filled in. Send it if you retry the call.",
    },
}
_ERROR_RESPONSE: Final = {
    "description": "An error, in the form of Google's APIs.",
    **_json({"$ref": SCHEMAS + "Error"}, {"notFound": {"value": _ERROR_EXAMPLE}}),
}


def _operation_response() -> dict[str, Any]:
    return {
        "description": "The operation.",
        "headers": OPERATION_HEADERS,
        **_json(
            {"$ref": SCHEMAS + "google.longrunning.Operation"},
            {
                "running": {"value": RUNNING_EXAMPLE},
                "done": {"value": _DONE_EXAMPLE},
                "failed": {"value": _FAILED_EXAMPLE},
            },
        ),
    }


def _list_response() -> dict[str, Any]:
    return {
        "description": "A page of operations.",
        **_json(
            {"$ref": SCHEMAS + "google.longrunning.ListOperationsResponse"},
            {"page": {"value": {"operations": [RUNNING_EXAMPLE], "nextPageToken": "b3BhcXVl"}}},
        ),
    }


def _empty_response() -> dict[str, Any]:
    return {
        "description": "The backend accepted the request.",
        **_json({"type": "object"}, {"empty": {"value": {}}}),
    }
