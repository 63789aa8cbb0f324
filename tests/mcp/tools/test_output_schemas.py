"""The output schemas of the tools of methods."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.longrunning import operations_pb2
from google.protobuf import json_format
from google.rpc import status_pb2
from jsonschema import Draft202012Validator

from lro_gateway.mcp.tools.output_schemas import SHORT_OPERATION, output_schema
from lro_gateway.mcp.tools.verb_tools import OPERATION_SCHEMA
from tests import factory
from tests.mcp.tool_client import packed

OPERATIONS = [
    operations_pb2.Operation(name="o/1"),
    operations_pb2.Operation(name="o/1", metadata=packed(status_pb2.Status(code=1))),
    operations_pb2.Operation(
        name="o/1",
        done=True,
        error=status_pb2.Status(code=3, message="m", details=[packed(status_pb2.Status())]),
    ),
    operations_pb2.Operation(name="o/1", done=True, response=packed(status_pb2.Status(code=1))),
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("full", [False, True])
def test_every_operation_is_valid_by_the_schema_of_a_start(operation: Any, *, full: bool) -> None:
    """The payloads may have other types than the announced ones."""
    schema = output_schema(factory.method("BuildMachine"), factory.types(), full=full)
    printed = {"done": False, **json_format.MessageToDict(operation)}
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(printed)
    printed["name"] = 1
    assert not Draft202012Validator(schema).is_valid(printed)


def test_a_short_schema_has_the_fields_of_the_full_one_and_no_definitions() -> None:
    """It has no fields of the payloads, so it is the same for each method."""
    short = output_schema(factory.method("BuildMachine"), factory.types(), full=False)
    assert short == output_schema(factory.method("Overhaul"), factory.types(), full=False)
    assert list(SHORT_OPERATION["properties"]) == list(OPERATION_SCHEMA["properties"])
    assert "required" not in {*SHORT_OPERATION, *OPERATION_SCHEMA}
    assert "$defs" not in short
    assert len(orjson.dumps(short)) < 300


def test_a_full_schema_has_the_announced_payloads() -> None:
    """The fields are beside @type."""
    full = output_schema(factory.method("BuildMachine"), factory.types(), full=True)
    response = full["properties"]["response"]["anyOf"][0]
    assert {"@type", "title"} <= response["properties"].keys()
