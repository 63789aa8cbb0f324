"""Unusual descriptors, which tests make without a .proto file."""

from __future__ import annotations

from typing import Any

from google.api import annotations_pb2, http_pb2, httpbody_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool

from lro_gateway.descriptors import well_known
from tests import factory

_WELL_KNOWN = frozenset(file.name for file in well_known.FILES)
TEXT = FieldDescriptorProto.TYPE_STRING
OPTIONAL = FieldDescriptorProto.LABEL_OPTIONAL
_HTTP_BODY = FileDescriptorProto.FromString(httpbody_pb2.DESCRIPTOR.serialized_pb)
OPERATION = "google.longrunning.Operation"


class Strange:
    """A file of package `strange` with one service. Its methods start operations by default."""

    def __init__(self) -> None:
        self.file = FileDescriptorProto(
            name="strange.proto",
            package="strange",
            syntax="proto3",
            dependency=[
                "google/api/annotations.proto",
                "google/longrunning/operations.proto",
                "google/protobuf/struct.proto",
                "google/protobuf/wrappers.proto",
            ],
        )
        self.service = self.file.service.add(name="Strange")

    def message(self, name: str, *fields: str) -> DescriptorProto:
        """Add a message with string fields of these names."""
        message = self.file.message_type.add(name=name)
        for number, field in enumerate(fields, 1):
            message.field.add(name=field, number=number, type=TEXT, label=OPTIONAL)
        return message

    def method(self, name: str, request: str, response: str = OPERATION, **rule: Any) -> None:
        """Add a method; `rule` has the fields of its google.api.HttpRule."""
        method = self.service.method.add(
            name=name, input_type=f".{request}", output_type=f".{response}"
        )
        if rule:
            method.options.Extensions[annotations_pb2.http].CopyFrom(http_pb2.HttpRule(**rule))

    def descriptor_set(self) -> bytes:
        """Return the serialized descriptor set of the file and all files that it imports."""
        common = [f for f in factory.descriptor_set().file[:-1] if f.name not in _WELL_KNOWN]
        files = [*well_known.FILES, *common, _HTTP_BODY, self.file]
        return FileDescriptorSet(file=files).SerializeToString()

    def pool(self) -> DescriptorPool:
        """Return a pool of the files of the descriptor set."""
        pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(self.descriptor_set()).file:
            pool.Add(file)
        return pool
