"""The schemas of the gateway's own requests and answers in the OpenAPI document."""

from __future__ import annotations

from typing import Final

from google.longrunning import operations_pb2

from lro_gateway.descriptors.schema import Schema, message_schema
from lro_gateway.rest.openapi.components import SCHEMAS
from lro_gateway.rest.parameters import SUMMARY
from lro_gateway.service.verb_requests import STATES

_ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "message": {"type": "string"},
                "status": {"type": "string", "description": "The name of the google.rpc.Code."},
                "details": {"type": "array", "items": {"type": "object"}},
            },
        }
    },
}
_SUMMARY_SCHEMA: Final = {
    "type": "object",
    "description": "What the operation says about itself, if the query has summary=true.",
    "properties": {
        "state": {"type": "string", "enum": list(STATES)},
        "backend": {"type": "string"},
        "kind": {"type": "string", "description": "The method that started it, in short."},
        "percent": {"type": "number", "minimum": 0, "maximum": 100},
        "statusText": {"type": "string"},
        "createTime": {"type": "string", "format": "date-time"},
        "updateTime": {"type": "string", "format": "date-time"},
    },
}


def own_schemas() -> dict[str, Schema]:
    """Return the gateway's own schemas.

    No field of a response is required, because the query `fields` may leave out any of them. A wait
    has its name in the path.
    """
    schemas: dict[str, Schema] = {}
    for message in (
        operations_pb2.Operation,
        operations_pb2.ListOperationsResponse,
        operations_pb2.WaitOperationRequest,
    ):
        inner: dict[str, Schema] = {}
        root = message_schema(message.DESCRIPTOR, ref_prefix=SCHEMAS, definitions=inner)
        schemas = {**inner, **schemas, message.DESCRIPTOR.full_name: root}
    operation, wait = (schemas[f"google.longrunning.{each}"] for each in _CHANGED)
    operation["properties"][SUMMARY] = _SUMMARY_SCHEMA
    del wait["properties"]["name"]
    timeout = wait["properties"]["timeout"]
    timeout["pattern"] = timeout["pattern"].replace("^-?", "^")
    return {**schemas, "Error": _ERROR_SCHEMA}


_CHANGED: Final = ("Operation", "WaitOperationRequest")
"""The messages whose schemas differ from their fields."""
