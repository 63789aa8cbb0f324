"""Tests of Google's published services: each long-running method of five packages is a tool."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from inspect import getsource
from pathlib import Path
from types import ModuleType
from typing import Any

import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from jsonschema import Draft202012Validator
from mcp import Client

from lro_gateway.service.catalog import RESERVED_NAMES
from tests.gateways import serving

PACKAGES = ("alloydb_v1", "automl_v1", "dataproc_v1", "discoveryengine_v1", "netapp_v1")
_STUB = re.compile(
    r'unary_unary\(\s*"/(?P<service>[\w.]+)/(?P<rpc>\w+)",'
    r"\s*request_serializer=(?P<module>\w+)\.(?P<request>\w+)\.serialize,"
    r"\s*response_deserializer=operations_pb2\.Operation\.FromString"
)
"""The source text with which a generated client makes the stub of a long-running RPC.

The packages contain no descriptors of services, so the tests read the RPCs from this text.
"""


def transports(package: str) -> Iterator[ModuleType]:
    """Yield the modules in which a client package makes its stubs."""
    services = import_module(f"google.cloud.{package}.services")
    for info in pkgutil.walk_packages(services.__path__, f"{services.__name__}."):
        if info.name.endswith(".transports.grpc"):
            yield import_module(info.name)


def long_running(package: str) -> Iterator[tuple[str, str, Descriptor]]:
    """Yield the service, the name and the request's type of each long-running RPC."""
    for module in transports(package):
        for stub in _STUB.finditer(getsource(module)):
            # The class is one of proto-plus. Its method pb() returns the protobuf class.
            request = getattr(getattr(module, stub["module"]), stub["request"]).pb()
            yield stub["service"], stub["rpc"], request.DESCRIPTOR


def descriptor_set() -> FileDescriptorSet:
    """Return the packages' files, and a new file for each service with its long-running RPCs."""
    files: dict[str, FileDescriptorProto] = {}
    for package in PACKAGES:
        for service, rpc, request in long_running(package):
            add(files, request.file)
            add(files, operations_pb2.DESCRIPTOR)
            file = files.setdefault(service, FileDescriptorProto(name=f"{service}.proto"))
            file.package, _, name = service.rpartition(".")
            if not file.service:
                file.service.add(name=name)
            for needed in (request.file.name, operations_pb2.DESCRIPTOR.name):
                if needed not in file.dependency:
                    file.dependency.append(needed)
            file.service[0].method.add(
                name=rpc,
                input_type=f".{request.full_name}",
                output_type=".google.longrunning.Operation",
            )
    return FileDescriptorSet(file=files.values())


def add(files: dict[str, FileDescriptorProto], file: FileDescriptor) -> None:
    """Add a file after all files that it depends on."""
    if file.name not in files:
        for dependency in file.dependencies:
            add(files, dependency)
        files[file.name] = FileDescriptorProto.FromString(file.serialized_pb)


async def every_tool(client: Client) -> AsyncIterator[types.Tool]:
    """Yield the tools of every page."""
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            yield tool
        if (cursor := page.next_cursor) is None:
            return


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the packages' descriptors to a file; return its path."""
    path = tmp_path_factory.mktemp("published") / "google.binpb"
    path.write_bytes(descriptor_set().SerializeToString())
    return path


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_every_long_running_method_is_a_tool_with_valid_schemas(
    descriptors: Path, mode: Any
) -> None:
    """No method is missing, no name is too long, no root is a union, and each $ref resolves."""
    wanted = [each for package in PACKAGES for each in long_running(package)]
    backend = {"name": "google", "target": "127.0.0.1:1", "descriptors": [str(descriptors)]}
    everything = {"tool_budget": 0}
    async with serving(backend, mcp=everything) as url, Client(f"{url}/mcp", mode=mode) as client:
        tools = [tool async for tool in every_tool(client) if tool.name not in RESERVED_NAMES]
    assert len(tools) == len(wanted) > 100
    for tool in tools:
        assert re.fullmatch(r"[a-z0-9_]{1,64}", tool.name)
        for schema in (tool.input_schema, tool.output_schema or {}):
            Draft202012Validator.check_schema(schema)
            assert schema["type"] == "object"
            assert not schema.keys() & {"oneOf", "anyOf", "allOf", "not", "$ref"}
            assert references(schema) <= {f"#/$defs/{name}" for name in schema.get("$defs", {})}


def references(schema: Any) -> set[str]:
    """Return every $ref in a schema."""
    if isinstance(schema, list):
        return {found for each in schema for found in references(each)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
    return own | references(list(schema.values()))
