"""A factory's service: methods of every kind, whose descriptors carry comments."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from google import api, longrunning
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc  # type: ignore[import-untyped]  # published without types

from lro_gateway.descriptors.methods import Method
from lro_gateway.descriptors.type_set import TypeSet
from tests.shapes import WELL_KNOWN

SERVICE = "factory.v1.Factory"
PROTO = """
syntax = "proto3";
package factory.v1;
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/longrunning/operations.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";

// Builds machines.
service Factory {
  // Builds a machine. See [the machine][factory.v1.Machine]
  // for what it is made of.
  // (-- api-linter: disabled --)
  rpc BuildMachine(BuildMachineRequest) returns (google.longrunning.Operation) {
    option (google.api.http) = {
      post: "/v1/{parent=lines/*}/machines"
      body: "machine"
      additional_bindings { post: "/v1/machines:build" body: "*" }
    };
    option (google.longrunning.operation_info) = {
      response_type: "Machine"
      metadata_type: "factory.v1.BuildMetadata"
    };
  }
  rpc UpdateMachine(UpdateMachineRequest) returns (google.longrunning.Operation) {
    option (google.api.http) = { patch: "/v1/{machine.name=lines/*/machines/*}" body: "machine" };
    option (google.longrunning.operation_info) = {
      response_type: "Machine"
      metadata_type: "BuildMetadata"
    };
  }
  rpc DeleteMachine(DeleteMachineRequest) returns (google.longrunning.Operation) {
    option (google.api.http) = { delete: "/v1/{name=lines/*/machines/*}" };
    option (google.longrunning.operation_info) = {
      response_type: "google.protobuf.Empty"
      metadata_type: "google.protobuf.Duration"
    };
  }
  rpc Overhaul(OverhaulRequest) returns (google.longrunning.Operation) {
    option deprecated = true;
  }
  rpc GetMachine(GetMachineRequest) returns (Machine) {
    option (google.api.http) = { get: "/v1/{name=lines/*/machines/*}" };
  }
  rpc WatchMachines(GetMachineRequest) returns (stream Machine);
}

// A machine: it has a drive. It may have parts, each of which is a machine too, and however many
// there are, a machine knows them all by name, for which reason this comment is too long to be told
// as a whole.
message Machine {
  enum State {
    STATE_UNSPECIFIED = 0;
    // It runs.
    RUNNING = 1;
    IDLE = 2;
  }
  // Its name.
  string name = 1 [(google.api.field_behavior) = IDENTIFIER];
  string title = 2 [(google.api.field_behavior) = REQUIRED];
  State state = 3 [(google.api.field_behavior) = OUTPUT_ONLY];
  // What it should do.
  State wanted_state = 4;
  oneof drive {
    // Its engine.
    Engine engine = 5 [(google.api.field_behavior) = REQUIRED];
    string crank = 6;
  }
  map<string, Machine> parts = 7;
  map<int32, string> notes = 8;
  google.protobuf.Timestamp start_time = 9;
  optional double weight = 10;
}

message Engine {
  int64 power = 1;
  bytes plan = 2;
  google.protobuf.Duration warm_up = 3;
}

message BuildMachineRequest {
  // The line on which it is built.
  string parent = 1 [(google.api.field_behavior) = REQUIRED];
  Machine machine = 2 [(google.api.field_behavior) = REQUIRED];
  string request_id = 3;
  bool validate_only = 4;
  google.protobuf.Any extra = 5;
}

message BuildMetadata {
  int32 progress_percent = 1;
}

message UpdateMachineRequest {
  Machine machine = 1 [(google.api.field_behavior) = REQUIRED];
  google.protobuf.FieldMask update_mask = 2;
}

message DeleteMachineRequest {
  string name = 1;
}

message OverhaulRequest {
  string backend = 1;
}

message GetMachineRequest {
  string name = 1;
}
"""


@cache
def descriptor_set() -> FileDescriptorSet:
    """Return the file and all it imports, dependencies first, with their comments."""
    common = Path(next(iter(api.__path__))).parents[1]
    operations = Path(next(iter(longrunning.__path__))) / "operations_proto.proto"
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        # It is published under another file name than its descriptor has.
        (root / "google/longrunning").mkdir(parents=True)
        (root / "google/longrunning/operations.proto").write_bytes(operations.read_bytes())
        (root / "factory.proto").write_text(PROTO)
        paths = [f"-I{root}", f"-I{common}", f"-I{WELL_KNOWN}", f"-o{root / 'out'}"]
        options = ["--include_imports", "--include_source_info"]
        assert protoc.main(["protoc", *paths, *options, "factory.proto"]) == 0
        return FileDescriptorSet.FromString((root / "out").read_bytes())


@cache
def pool() -> DescriptorPool:
    """Return a pool of them, apart from the default one as a backend's process would be."""
    own = DescriptorPool()
    for file in descriptor_set().file:
        own.Add(file)
    return own


@cache
def types() -> TypeSet:
    """Return a set that knows them."""
    known = TypeSet()
    assert known.add(descriptor_set().file) == []
    return known


def descriptor(name: str) -> Descriptor:
    """Return a descriptor of `factory.v1`."""
    found: Any = types().message_class(f"factory.v1.{name}")
    result: Descriptor = found.DESCRIPTOR
    return result


def message(name: str, /, **fields: Any) -> Any:
    """Make a message of the backend's pool."""
    full_name = name if "." in name else f"factory.v1.{name}"
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))(**fields)


def method(name: str) -> Method:
    """Return a unary method of the service."""
    return next(each for each in types().methods_of(SERVICE) if each.name == name)
