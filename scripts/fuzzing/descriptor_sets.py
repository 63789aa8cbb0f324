"""The target of descriptors: a FileDescriptorSet that a backend or a build made."""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from lro_gateway.descriptors.file_index import FileIndex
from lro_gateway.descriptors.schema import message_schema
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.rest.route_table import RouteTable
from lro_gateway.service.tool_names import tool_names
from scripts.fuzzing.checks import check

_LONGEST_NAME: Final = 64


def descriptor_sets(data: bytes) -> None:
    """Link the files of a set. What cannot be used is left out with a reason, and never raises."""
    try:
        files = FileDescriptorSet.FromString(data).file
    except DecodeError:
        return
    index = FileIndex()
    for file in files:
        index.add(file)
    types = TypeSet()
    problems = types.add(files)
    check(all(len(each) < 2_000 + len(data) for each in problems), "a problem has a limited length")
    check(not types.add(files) or problems, "a second time, nothing new is wrong")
    services = [
        ".".join(filter(None, map(str, (file.package, service.name))))
        for file in files
        for service in file.service
    ]
    methods = [method for name in services for method in types.methods_of(name)]
    RouteTable.of({method.full_name: method for method in methods}.values())
    names = tool_names(methods, frozenset())
    check(all(len(name) <= _LONGEST_NAME for name in names.values()), "a tool's name is short")
    for method in methods:
        schema = message_schema(
            method.request, descriptions=types.comments.by_name, for_input=True, quoted=True
        )
        check(schema["type"] == "object", "the schema of arguments describes an object")
        message_schema(method.response, descriptions=types.comments.by_name)
