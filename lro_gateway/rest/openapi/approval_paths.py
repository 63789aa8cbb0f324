"""The paths of calls that wait for an approval, which only a gateway with such calls has."""

from __future__ import annotations

from typing import Any, Final

from lro_gateway.descriptors.schema import Schema
from lro_gateway.rest.openapi.components import SCHEMAS
from lro_gateway.rest.openapi.method_paths import ERROR
from lro_gateway.service.approval_requests import STATES

_TEXT: Final[Schema] = {"type": "string"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_CALLER: Final[Schema] = {
    "type": "object",
    "properties": dict.fromkeys(("issuer", "subject", "tenant", "client"), _TEXT),
}
_APPROVAL: Final[Schema] = {
    "type": "object",
    "required": ["name", "state", "backend", "method"],
    "properties": {
        "name": {**_TEXT, "description": "approvals/ID, which can be used as an operation's name."},
        "state": {"type": "string", "enum": [each.upper() for each in STATES]},
        "statusMessage": _TEXT,
        "backend": _TEXT,
        "method": {**_TEXT, "description": "package.Service/Method."},
        "request": {"type": "object", "description": "The request as ProtoJSON."},
        "requester": _CALLER,
        "createTime": _TIME,
        "expireTime": _TIME,
        "decideTime": _TIME,
        "decider": _CALLER,
        "reason": _TEXT,
        "operation": {**_TEXT, "description": "The name of the operation that it has started."},
        "canDecide": {
            "type": "boolean",
            "description": "Whether the caller may approve or refuse it now.",
        },
    },
}
_PARAMETER: Final[dict[str, Any]] = {
    "name": "approval",
    "in": "path",
    "required": True,
    "description": "The id of the call.",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}
_SYSTEM: Final = [{"$ref": f"#/components/parameters/{name}"} for name in ("fields", "prettyPrint")]


def _decision(summary: str, operation_id: str) -> dict[str, Any]:
    reason = {"type": "object", "properties": {"reason": _TEXT}, "additionalProperties": False}
    operation = {"$ref": SCHEMAS + "google.longrunning.Operation"}
    return {
        "post": {
            "summary": summary,
            "operationId": operation_id,
            "tags": ["operations"],
            "parameters": [_PARAMETER, *_SYSTEM],
            "requestBody": {"content": {"application/json": {"schema": reason}}},
            "responses": {
                "200": {
                    "description": "The call as an operation, whose metadata tells of it.",
                    "content": {"application/json": {"schema": operation}},
                },
                "default": ERROR,
            },
        }
    }


APPROVAL_PATHS: Final[dict[str, Any]] = {
    "/v1/approvals": {
        "get": {
            "summary": "List the calls that wait for an approval, the newest first",
            "description": "Those that the caller has asked for, or may approve.",
            "operationId": "ListApprovals",
            "tags": ["operations"],
            "parameters": [
                {
                    "name": "state",
                    "in": "query",
                    "schema": {"type": "string", "enum": list(STATES)},
                    "description": "The state of the calls.",
                },
                {
                    "name": "pageSize",
                    "in": "query",
                    "schema": {"type": "integer", "minimum": 0, "maximum": 100},
                    "description": "By default 20.",
                },
                {"$ref": "#/components/parameters/pageToken"},
                *_SYSTEM,
            ],
            "responses": {
                "200": {
                    "description": "A page of calls.",
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["approvals"],
                                "properties": {
                                    "approvals": {"type": "array", "items": _APPROVAL},
                                    "nextPageToken": _TEXT,
                                },
                            }
                        }
                    },
                },
                "default": ERROR,
            },
        }
    },
    "/v1/approvals/{approval}:approve": _decision("Approve a call, which then starts", "Approve"),
    "/v1/approvals/{approval}:refuse": _decision("Refuse a call, which never starts", "Refuse"),
}
