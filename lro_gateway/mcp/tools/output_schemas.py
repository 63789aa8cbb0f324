"""The output schemas of the tools of methods."""

from __future__ import annotations

from typing import Final

from lro_gateway.descriptors.announced import payload_schemas
from lro_gateway.descriptors.methods import OPERATION, Method
from lro_gateway.descriptors.schema import Schema, any_schema, message_schema
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.mcp.tools.verb_tools import OPERATION_SCHEMA

SHORT_OPERATION: Final[Schema] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "metadata": {"type": "object"},
        "done": {"type": "boolean"},
        "error": {
            "type": "object",
            "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
        },
        "response": {"type": "object"},
    },
}
"""The schema of an Operation whose payloads are objects with any fields.

Most clients give the output schema to nobody, and some count it as a part of each request. It
requires no field, because a caller may select the fields of the answer.
"""


def output_schema(method: Method, types: TypeSet, *, full: bool) -> Schema:
    """Return the schema of a method's response.

    If the response is an Operation, the schema has the fields of the announced payload types only
    if `full` is set.
    """
    if method.response.full_name != OPERATION:
        return message_schema(method.response, descriptions=types.comments.by_name, quoted=True)
    return _full_operation(method, types) if full else SHORT_OPERATION


def _full_operation(method: Method, types: TypeSet) -> Schema:
    definitions: dict[str, Schema] = dict(OPERATION_SCHEMA["$defs"])
    payloads = payload_schemas(
        method,
        types,
        lambda each: any_schema(each, types.comments.by_name, definitions, quoted=True),
    )
    properties = {**OPERATION_SCHEMA["properties"], **payloads}
    return {**OPERATION_SCHEMA, "properties": properties, "$defs": definitions}
