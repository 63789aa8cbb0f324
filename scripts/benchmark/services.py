"""Writes a thousand methods of realistic size as a FileDescriptorSet, which protoc compiles.

There is one service for each area. The fields of messages differ from area to area, so no two
messages are equal. All areas have the same names of methods, as services of one company do.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from string import Template
from typing import Final

import google.api

from scripts.benchmark.processes import SCRATCH

METHODS: Final = 1_000
_NOUNS: Final = (
    *("Cluster", "Database", "Instance", "Backup", "Snapshot"),
    *("Network", "Pipeline", "Workflow", "Dataset", "Index"),
)
_AREAS: Final = 10

_FILE: Final = Template("""\
syntax = "proto3";

package bench.area$area.v1;

import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/longrunning/operations.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

// Administers the resources of area $area.
service Area${area}Admin {
$methods
}

// The progress of every operation of area $area.
message OperationMetadata {
  // When the operation was started.
  google.protobuf.Timestamp create_time = 1;
  // When the operation finished; unset while it runs.
  google.protobuf.Timestamp end_time = 2;
  // The resource that the operation is about.
  string target = 3;
  // How much of the work is done, from 0 to 100.
  int32 progress_percent = 4;
  // What the operation is doing, in words.
  string status_detail = 5;
}

$messages
""")

_METHOD: Final = Template("""\
  // ${verb}s a $words. The operation ends when the $words is in the requested state. Cancelling the
  // operation leaves the $words unchanged.
  rpc $verb$noun($verb${noun}Request) returns (google.longrunning.Operation) {
    option (google.api.http) = { $http };
    option (google.longrunning.operation_info) = {
      response_type: "$noun" metadata_type: "OperationMetadata"
    };
  }
""")

_RESOURCE: Final = Template("""\
// A $words of area $area.
message $noun {
  // Where a $words is in its life.
  enum State {
    // Not set.
    STATE_UNSPECIFIED = 0;
    // It is being made and cannot be used yet.
    CREATING = 1;
    // It can be used.
    READY = 2;
    // It is being removed.
    DELETING = 3;
  }
  // How a $words is kept available.
  message Availability {
    // What happens when a zone fails.
    enum Mode {
      // The service decides.
      MODE_UNSPECIFIED = 0;
      // One zone only.
      ZONAL = 1;
      // A standby in another zone.
      REGIONAL = 2;
    }
    // What happens when a zone fails.
    Mode mode = 1 [(google.api.field_behavior) = REQUIRED];
    // The zones to prefer, the first before the others.
    repeated string zones = 2;
    // How long a failover may take.
    google.protobuf.Duration failover_limit = 3;
  }
  // A window in which the service may restart a $words.
  message Window {
    // The day of the week, Monday is 1.
    int32 day = 1;
    // When it begins, after midnight in UTC.
    google.protobuf.Duration start = 2;
  }
  // The name of the $words, `projects/{project}/${plural}/{id}`.
  string name = 1 [(google.api.field_behavior) = IDENTIFIER];
  // A name for people to read.
  string display_name = 2 [(google.api.field_behavior) = REQUIRED];
  // What the owner marks it with.
  map<string, string> labels = 3;
  // Where it is in its life.
  State state = 4 [(google.api.field_behavior) = OUTPUT_ONLY];
  // When it was made.
  google.protobuf.Timestamp create_time = 5 [(google.api.field_behavior) = OUTPUT_ONLY];
  // How it is kept available.
  Availability availability = 6;
  // When it may be restarted, by the name of the window.
  map<string, Window> windows = 7;
  // How much it may hold.
  oneof capacity {
    // In bytes.
    int64 size_bytes = 8;
    // In units of the service.
    google.protobuf.Int32Value units = 9;
  }
$fields
}
""")

_REQUEST: Final = Template("""\
// The request of `$verb$noun`.
message $verb${noun}Request {
  // Which $words is meant, `projects/{project}/${plural}/{id}`, or where a new one is to be.
  string name = 1 [(google.api.field_behavior) = REQUIRED];
$own
  // Only checks the request, and changes nothing.
  bool validate_only = 14;
  // Makes the request safe to repeat.
  string request_id = 15;
$fields
}
""")

_BODY: Final = """\
  // What it is to be like.
  {noun} resource = 2 [(google.api.field_behavior) = REQUIRED];
  // Which of its fields to change.
  google.protobuf.FieldMask update_mask = 3;
"""
_LOCATION: Final = """\
  // The location to write to or to read from.
  oneof location {{
    // A bucket, such as `gs://bucket/folder`.
    string uri = 2;
    // Another {words} of the same project.
    string other = 3;
  }}
  // How each column is treated, by its name.
  map<string, {noun}.Window> columns = 4;
"""
_PLAIN: Final = """\
  // The etag that it must have, if that matters.
  string etag = 2;
  // Goes on where a part of it is in use.
  bool force = 3;
"""
_VERBS: Final = {
    "Create": ("post", "", _BODY),
    "Update": ("patch", "", _BODY),
    "Delete": ("delete", "", _PLAIN),
    "Export": ("post", ":export", _LOCATION),
    "Import": ("post", ":import", _LOCATION),
    "Restart": ("post", ":restart", _PLAIN),
    "Restore": ("post", ":restore", _LOCATION),
    "Resize": ("post", ":resize", _BODY),
    "Repair": ("post", ":repair", _PLAIN),
    "Migrate": ("post", ":migrate", _LOCATION),
}
_FIELD_TYPES: Final = (
    *("string", "int64", "bool", "repeated string", "double", "map<string, int32>"),
    *("google.protobuf.Timestamp", "bytes", "repeated OperationMetadata", "uint32"),
)


def write_descriptors(directory: Path) -> Path:
    """Write a FileDescriptorSet of `METHODS` long-running methods; return its path."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as sources:
        root = Path(sources)
        for area in range(_AREAS):
            (root / f"area{area}.proto").write_text(_file(area))
        return _compiled(root, directory / "services.binpb")


def _compiled(root: Path, output: Path) -> Path:
    common = Path(next(iter(google.api.__path__))).parents[1]
    # googleapis-common-protos ships this file under a name that differs from its descriptor's name.
    longrunning = root / "google" / "longrunning"
    longrunning.mkdir(parents=True)
    operations = common / "google" / "longrunning" / "operations_proto.proto"
    shutil.copy(operations, longrunning / "operations.proto")
    protoc = (sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", f"-I{common}")
    options = ("--include_imports", "--include_source_info", f"-o{output}")
    files = sorted(file.name for file in root.glob("*.proto"))
    subprocess.run([*protoc, *options, *files], check=True)  # noqa: S603 - all arguments are constants or paths of this file
    return output


def _file(area: int) -> str:
    return _FILE.substitute(
        area=area,
        methods="\n".join(
            _METHOD.substitute(_names(area, noun), verb=verb, http=_http(noun, verb))
            for noun, verb in product(_NOUNS, _VERBS)
        ),
        messages="\n".join(_messages(area)),
    )


def _names(area: int, noun: str) -> dict[str, object]:
    return {"area": area, "noun": noun, "words": noun.lower(), "plural": f"{noun.lower()}s"}


def _http(noun: str, verb: str) -> str:
    method, custom_verb, _ = _VERBS[verb]
    path = f"/v1/{{name=projects/*/{noun.lower()}s/*}}{custom_verb}"
    return f'{method}: "{path}"' + (' body: "*"' if method != "delete" else "")


def _messages(area: int) -> Iterator[str]:
    for index, noun in enumerate(_NOUNS):
        names = _names(area, noun)
        yield _RESOURCE.substitute(names, fields=_fields(area, index, 6 + (area + index) % 5))
        for number, verb in enumerate(_VERBS):
            own = _VERBS[verb][2].format(noun=noun, words=noun.lower())
            fields = _fields(area + number, index, (area + number) % 4)
            yield _REQUEST.substitute(names, verb=verb, own=own, fields=fields)


def _fields(seed: int, index: int, count: int) -> str:
    """Return `count` fields; the types differ with `seed` and `index`."""
    return "\n".join(
        f"  // Setting {number} of this kind of resource; if it is unset, the default holds.\n"
        f"  {_FIELD_TYPES[(seed + 3 * index + number) % len(_FIELD_TYPES)]}"
        f" setting_{number} = {20 + number};"
        for number in range(count)
    )
