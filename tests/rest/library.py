"""A library's messages and methods, for rules of every kind."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc  # type: ignore[import-untyped]  # published without types

from lro_gateway.descriptors.http_rules import HttpBinding
from lro_gateway.descriptors.methods import Method

WELL_KNOWN: Final = Path(protoc.__file__).parent / "_proto"
PROTO: Final = """
syntax = "proto3";
package library.v1;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Genre { GENRE_UNSPECIFIED = 0; NOVEL = 1; POEMS = 2; }
message Author { string full_name = 1; google.protobuf.Timestamp born = 2; }
message Book {
  string name = 1;
  string title = 2;
  int32 page_count = 3;
  Author author = 4;
  Book sequel = 5;
  repeated Author translators = 6;
  map<string, string> labels = 7;
}
message BookRequest {
  string name = 1;
  string parent = 2;
  string book_id = 3;
  Book book = 4;
  google.protobuf.FieldMask update_mask = 5;
  bool validate_only = 6;
  int64 etag = 7;
  uint32 copies = 8;
  double price = 9;
  bytes digest = 10;
  Genre genre = 11;
  repeated Genre genres = 12;
  repeated string tags = 13;
  google.protobuf.Timestamp as_of = 14;
  google.protobuf.Duration timeout = 15;
  google.protobuf.BoolValue illustrated = 16;
  google.protobuf.Int64Value weight = 17;
  google.protobuf.StringValue shelf_mark = 18;
  google.protobuf.Struct extra = 19;
  google.protobuf.Any any = 20;
  repeated google.protobuf.Timestamp loans = 21;
  repeated Book books = 22;
  map<string, string> labels = 23;
  optional float rating = 24;
  string renamed = 25 [json_name = "otherName"];
  repeated int32 years = 26;
}
message BookResponse {
  repeated Book books = 1;
  Book best = 2;
  int64 total = 3;
  google.protobuf.Timestamp read_time = 4;
}
"""


@cache
def pool() -> DescriptorPool:
    """Return a pool of those messages, apart from the default one."""
    with tempfile.TemporaryDirectory() as directory:
        source, out = Path(directory) / "library.proto", Path(directory) / "library.binpb"
        source.write_text(PROTO)
        paths = (f"-I{directory}", f"-I{WELL_KNOWN}", "--include_imports", f"-o{out}")
        assert protoc.main(["protoc", *paths, source.name]) == 0
        files = FileDescriptorSet.FromString(out.read_bytes())
    own = DescriptorPool()
    for file in files.file:
        own.Add(file)
    return own


def message(name: str) -> Descriptor:
    """Return the descriptor of a message of `library.v1`."""
    descriptor: Descriptor = pool().FindMessageTypeByName(f"library.v1.{name}")
    assert GetMessageClass(descriptor)
    return descriptor


def method(name: str, *bindings: HttpBinding) -> Method:
    """Return a method with these rules, from a BookRequest to a BookResponse."""
    return Method(
        f"library.v1.Library.{name}",
        message("BookRequest"),
        message("BookResponse"),
        bindings=bindings,
    )


def rule(verb: str, template: str, body: str = "", response_body: str = "") -> HttpBinding:
    """Return a rule."""
    return HttpBinding(verb, template, body, response_body)


def descriptor_set(*methods: Method) -> FileDescriptorSet:
    """Return the files of a Library service of these methods, dependencies first."""
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
