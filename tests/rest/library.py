"""A library's messages and methods, for rules of every kind."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc  # type: ignore[import-untyped]  # published without types

from lro_gateway.descriptors.methods import HttpBinding, Method

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
