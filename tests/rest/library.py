"""The messages and methods of a library, for tests of every kind of HTTP rule."""

from __future__ import annotations

from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from lro_gateway.descriptors.http_rules import HttpBinding
from lro_gateway.descriptors.methods import Method
from lro_gateway.rest.route_table import Match, RouteTable
from tests.protos import pool_of


def pool() -> DescriptorPool:
    """Return a pool of the library's messages that is not the default pool."""
    return pool_of("library")


def message(name: str) -> Descriptor:
    """Return the descriptor of a message of `library.v1`."""
    descriptor: Descriptor = pool().FindMessageTypeByName(f"library.v1.{name}")
    assert GetMessageClass(descriptor)
    return descriptor


def method(name: str, *bindings: HttpBinding) -> Method:
    """Return a method with these rules, whose types are BookRequest and BookResponse."""
    return Method(
        f"library.v1.Library.{name}",
        message("BookRequest"),
        message("BookResponse"),
        bindings=bindings,
    )


def rule(verb: str, template: str, body: str = "", response_body: str = "") -> HttpBinding:
    """Return one HTTP rule of a method."""
    return HttpBinding(verb, template, body, response_body)


def descriptor_set(*methods: Method) -> FileDescriptorSet:
    """Return the files of a service Library with these methods, dependencies first."""
    file = FileDescriptorProto(
        name="library_service.proto",
        package="library.v1",
        syntax="proto3",
        dependency=["library.proto", "google/api/annotations.proto"],
    )
    service = file.service.add(name="Library")
    for each in methods:
        declared = service.method.add(
            name=each.name,
            input_type=f".{each.request.full_name}",
            output_type=f".{each.response.full_name}",
        )
        first, *others = each.bindings
        http = declared.options.Extensions[annotations_pb2.http]
        _write(http, first)
        for binding in others:
            _write(http.additional_bindings.add(), binding)
    files: dict[str, FileDescriptorProto] = {}
    _collect(pool().FindFileByName("library.proto"), files)
    _collect(annotations_pb2.DESCRIPTOR, files)
    return FileDescriptorSet(file=[*files.values(), file])


def _write(http: Any, binding: HttpBinding) -> None:
    if binding.verb in {"GET", "PUT", "POST", "DELETE", "PATCH"}:
        setattr(http, binding.verb.lower(), binding.template)
    else:
        http.custom.kind, http.custom.path = binding.verb, binding.template
    http.body, http.response_body = binding.body, binding.response_body


def _collect(descriptor: FileDescriptor, files: dict[str, FileDescriptorProto]) -> None:
    for dependency in descriptor.dependencies:
        _collect(dependency, files)
    files[descriptor.name] = FileDescriptorProto.FromString(descriptor.serialized_pb)


def match(routes: RouteTable, verb: str, path: bytes) -> Match | None:
    """Return the match of the most specific route of an HTTP verb, or None."""
    found = routes.find(path)
    return next((found.match(claims[0]) for claims in found.claims(verb)), None)
