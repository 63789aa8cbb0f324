"""The path of the operations that a caller has started. No RPC is behind it."""

from __future__ import annotations

from typing import Any, Final

from lro_gateway.descriptors.schema import Schema
from lro_gateway.records.entries import ENTRY_STATES
from lro_gateway.rest.openapi.method_paths import ERROR

_TEXT: Final[Schema] = {"type": "string"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_ENTRY: Final[Schema] = {
    "type": "object",
    "required": ["backend", "state", "startTime", "updateTime"],
    "properties": {
        "name": {**_TEXT, "description": "The name, once the backend has answered the start."},
        "backend": _TEXT,
        "method": {
            **_TEXT,
            "description": "The method that started it: package.Service/Method. A subscription has"
            " adopted an operation without it.",
        },
        "state": {"type": "string", "enum": list(ENTRY_STATES)},
        "percent": {"type": "number", "minimum": 0, "maximum": 100},
        "startTime": {**_TIME, "description": "When it was started here, or adopted."},
        "updateTime": {**_TIME, "description": "When its state or percentage last changed."},
        "endTime": _TIME,
        "age": {
            **_TEXT,
            "description": "The time since the gateway last heard of it, such as 12s.",
        },
        "error": {
            "type": "object",
            "properties": {"code": {"type": "integer"}, "message": _TEXT},
        },
        "archiveTime": {**_TIME, "description": "When the gateway copied its final state."},
        "request": {"type": "object", "description": "The request, if the journal keeps it."},
        "path": {**_TEXT, "description": "The path at which the operation can be read."},
    },
}
_EXAMPLE: Final = {
    "name": "databases/orders/operations/9f1c",
    "backend": "east",
    "method": "lro_gateway.demo.v1.DatabaseAdmin/BackupDatabase",
    "state": "running",
    "percent": 42,
    "startTime": "2026-01-02T03:04:05Z",
    "updateTime": "2026-01-02T03:05:06Z",
    "age": "12s",
    "path": "/v1/databases/orders/operations/9f1c",
}
_PARAMETERS: Final[dict[str, tuple[Schema, str]]] = {
    "state": (_ENTRY["properties"]["state"], "The state of the operations."),
    "method": (_TEXT, "A part of the method's name, in any case."),
    "text": (_TEXT, "A part of the name, the method, the request or the error, in any case."),
    "since": (_TIME, "The earliest start."),
    "until": (_TIME, "The time before which they started."),
    "tenant": ({"type": "boolean"}, "Whether to list those of the caller's whole tenant."),
    "pageSize": ({"type": "integer", "minimum": 0, "maximum": 100}, "By default 20."),
}

MINE_PATH: Final[dict[str, Any]] = {
    "get": {
        "summary": "List the operations that the caller has started, the newest first",
        "description": (
            "It needs a store. A page may be empty and have a nextPageToken. Operations whose"
            " backends are down are listed as the gateway last saw them."
        ),
        "operationId": "ListMyOperations",
        "tags": ["operations"],
        "parameters": [
            *(
                {"name": name, "in": "query", "schema": schema, "description": description}
                for name, (schema, description) in _PARAMETERS.items()
            ),
            *(
                {"$ref": f"#/components/parameters/{name}"}
                for name in ("backend", "pageToken", "fields", "prettyPrint")
            ),
        ],
        "responses": {
            "200": {
                "description": "A page of operations.",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["operations"],
                            "properties": {
                                "operations": {"type": "array", "items": _ENTRY},
                                "nextPageToken": _TEXT,
                            },
                        },
                        "examples": {"page": {"value": {"operations": [_EXAMPLE]}}},
                    }
                },
            },
            "default": ERROR,
        },
    }
}
