"""Files that protobuf's pool refuses: repairs, losses, and reports of the losses."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.background import completed
from lro_gateway.descriptors.declarations import references, type_names
from lro_gateway.descriptors.type_set import TypeSet
from tests import factory
from tests.descriptors.made_types import fields_of, file

TEXT = "label: LABEL_OPTIONAL type: TYPE_STRING"
FIELD = f'field {{ name: "f" number: 1 {TEXT} }}'
MESSAGE = "label: LABEL_OPTIONAL type: TYPE_MESSAGE"


def parsed(text: str) -> FileDescriptorProto:
    """Read a file from protobuf's text format. Its name is `a.proto` unless the text has one."""
    made = text_format.Parse(text, FileDescriptorProto())
    made.name = made.name or "a.proto"
    return made


def types_of(*files: FileDescriptorProto) -> TypeSet:
    """Return a set with these files, which must not lose anything."""
    types = TypeSet()
    assert types.add(files) == []
    return types


def printed(types: TypeSet, name: str, content: bytes) -> Any:
    """Return the ProtoJSON of a message."""
    message_class = types.message_class(name)
    assert message_class is not None
    return json_format.MessageToDict(message_class.FromString(content))


@pytest.mark.parametrize(
    ("header", "fields", "names"),
    [
        ("", ["eventType", "event_type"], ["eventType", "event_type"]),
        ('syntax: "proto3"', ["eventType", "event_type"], ["eventType", "event_type"]),
        ("", ["a_b", "aB", "a__b"], ["a_b", "aB", "a__b"]),
        ("", ["a_b", "_ab:aB", "x:a_b"], ["a_b", "_ab", "x"]),
        ("", ["a_b:x", "c_d:x", "e_f"], ["a_b", "c_d", "eF"]),
        (
            'syntax: "editions" edition: EDITION_2023',
            ["eventType", "event_type"],
            ["eventType", "event_type"],
        ),
        (
            (
                'syntax: "editions" edition: EDITION_2023'
                " options { features { json_format: LEGACY_BEST_EFFORT } }"
            ),
            ["eventType", "event_type"],
            ["eventType", "event_type"],
        ),
    ],
)
def test_fields_with_one_json_name_are_printed_by_their_own_names(
    header: str, fields: list[str], names: list[str]
) -> None:
    """Protoc accepts such fields in proto2. Fields without a clash keep their JSON names."""
    declared = ""
    for number, field in enumerate(fields, 1):
        name, _, json_name = field.partition(":")
        extra = f'json_name: "{json_name}"' if json_name else ""
        declared += f'field {{ name: "{name}" number: {number} {TEXT} {extra} }}'
    text = (
        f'{header} package: "a" message_type {{ name: "M" nested_type {{ name: "N" {declared} }} }}'
    )
    content = b"".join(bytes([number << 3 | 2, 1, 97]) for number in range(1, len(fields) + 1))
    assert printed(types_of(parsed(text)), "a.M.N", content) == dict.fromkeys(names, "a")


@pytest.mark.parametrize(
    "text",
    [
        'syntax: "<unknown:0>" message_type { name: "M" FIELD }',
        'syntax: "editions" edition: 99998 message_type { name: "M" FIELD }',
        'syntax: "editions" message_type { name: "M" FIELD }',
        'message_type { name: "M" FIELD reserved_range { start: 9 end: 2 } }',
        'message_type { name: "M" FIELD extension_range { start: 9 end: 2 } }',
        'message_type { name: "M" FIELD oneof_decl { name: "o" } }',
        'message_type { name: "M" field { name: "f" number: 1 TEXT oneof_index: 7 } }',
        (
            'syntax: "proto3" message_type { name: "M" field { name: "f" number: 1 TEXT'
            " proto3_optional: true } }"
        ),
        'message_type { name: "M" field { name: "f" number: 1 TEXT options { packed: false } } }',
        (
            'message_type { name: "M" FIELD field { name: "n" number: 2'
            ' label: LABEL_OPTIONAL type: TYPE_INT32 default_value: "zz" } }'
        ),
        (
            'syntax: "proto3" message_type { name: "M" FIELD field { name: "n"'
            " number: 2 label: LABEL_REQUIRED type: TYPE_INT32 } }"
        ),
        (
            'syntax: "proto3" message_type { name: "M" FIELD }'
            ' enum_type { name: "E" value { name: "A" number: 1 } value { name: "a" number: 2 } }'
        ),
        (
            'syntax: "proto3" message_type { name: "M" FIELD }'
            ' enum_type { name: "E" value { name: "A" number: 1 } value { name: "B" number: 0 } }'
        ),
        'message_type { name: "M" FIELD } enum_type { name: "E" }',
        'message_type { name: "M" FIELD field { name: ".x.y" number: 2 TEXT } }',
        (
            'dependency: "validate/validate.proto" public_dependency: 0 weak_dependency: 0'
            ' message_type { name: "M" FIELD }'
        ),
        'public_dependency: 7 message_type { name: "M" FIELD }',
        'option_dependency: "gogo.proto" message_type { name: "M" FIELD }',
        (
            'dependency: ".\\\\google\\\\protobuf\\\\any.proto" dependency: "./b.proto"'
            ' message_type { name: "M" FIELD }'
        ),
    ],
)
def test_a_mistake_that_changes_no_bytes_is_repaired(text: str) -> None:
    """Nothing is lost, so nothing is reported."""
    types = types_of(parsed(f'package: "a" {text.replace("FIELD", FIELD).replace("TEXT", TEXT)}'))
    assert printed(types, "a.M", b"\x0a\x01v") == {"f": "v"}


def test_a_name_that_protobuf_refuses_is_replaced() -> None:
    """Names may even be bytes that are not UTF-8."""
    made = file("a.proto", "a-b", package="a", type_name="M")
    made.message_type.add(name="M\\xff")
    content = made.SerializeToString().replace(b"M\\xff", b"MMM\xff\xff")
    types = types_of(FileDescriptorProto.FromString(content))
    assert printed(types, "a.M", b"\x0a\x01v") == {"a-b": "v"}


def test_a_declaration_that_cannot_be_repaired_is_left_out_alone() -> None:
    """A field of its type becomes bytes, and everything else stays usable."""
    made = file("bad.proto", "a")
    made.message_type[0].field.add(name="bad", number=2, type=11, label=1, type_name=".own.Bad")
    made.message_type.add(name="Bad").field.add(name="x", number=1, label=1, type=11)
    types = TypeSet()
    left_out, loss = types.add([made])
    assert left_out.startswith("'bad.proto': own.Bad was left out: ")
    assert loss.startswith("the type 'own.Bad' is not known, so own.Thing.bad is bytes; ")
    assert printed(types, "own.Thing", b"\x12\x01b") == {"bad": "Yg=="}
    assert types.problems == (left_out, loss)


@pytest.mark.parametrize("number", [1, 0, -1, 2**29])
def test_a_field_with_a_number_that_is_taken_or_wrong_is_left_out_and_reported(number: int) -> None:
    """The first field of a number is used."""
    made = file("bad.proto", "a")
    made.message_type[0].field.add(name="b", number=number, type=9, label=1)
    types = TypeSet()
    (problem,) = types.add([made])
    assert problem.startswith("'bad.proto': own.Thing.b was left out: ")
    assert fields_of(types, "own.Thing") == ["a"]


def test_only_what_uses_a_missing_type_changes() -> None:
    """A message of the type is bytes, an enum is a number, and an RPC is not offered."""
    text = """
        package: "a" dependency: "gone.proto"
        message_type {
          name: "M"
          field { name: "one" number: 1 MESSAGE type_name: ".no.A" }
          field { name: "many" number: 2 label: LABEL_REPEATED type: TYPE_ENUM type_name: ".no.E" }
          field { name: "map" number: 3 type_name: ".a.M.MapEntry" label: LABEL_REPEATED }
          nested_type {
            name: "MapEntry"
            field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
            field { name: "value" number: 2 MESSAGE type_name: ".no.A" }
            options { map_entry: true }
          }
        }
        extension { name: "x" number: 9 label: LABEL_OPTIONAL type: TYPE_STRING extendee: ".no.A" }
        service {
          name: "S"
          method { name: "Lost" input_type: ".no.A" output_type: ".a.M" }
          method { name: "Kept" input_type: ".a.M" output_type: ".a.M" }
        }
    """
    types = TypeSet()
    problems = types.add([parsed(text.replace("MESSAGE", MESSAGE))])
    assert len(problems) == 2
    content = b"\x0a\x01b\x10\x05\x1a\x06\x0a\x01k\x12\x01v"
    assert printed(types, "a.M", content) == {"one": "Yg==", "many": [5], "map": {"k": "dg=="}}
    assert [method.name for method in types.methods_of("a.S")] == ["Kept"]
    assert all("add a FileDescriptorSet that declares the type" in each for each in problems)


def test_files_with_one_name_are_all_used() -> None:
    """Services of two teams often have a file service.proto. Importers get the right types."""
    first, second = file("service.proto", "a", package="one"), file("service.proto", "b")
    user = file("user.proto", package="user")
    user.dependency.append("service.proto")
    user.message_type[0].field.add(name="x", number=1, label=1, type=11, type_name=".own.Thing")
    types = types_of(first, second, user, first, second)
    assert fields_of(types, "one.Thing") == ["a"]
    assert fields_of(types, "own.Thing") == ["b"]
    assert printed(types, "user.Thing", b"\x0a\x03\x0a\x01v") == {"x": {"b": "v"}}
    assert [name for name in types.files if "service" in name] == [
        "service.proto",
        "service.proto (2)",
    ]


@pytest.mark.parametrize("name", ["a.proto", "b.proto"])
def test_two_different_declarations_of_one_name_are_reported(name: str) -> None:
    """The first one is used. The same declaration in two files is no problem."""
    types = types_of(file("a.proto", "a"), file("copy.proto", "renamed"))
    assert types.add([file(name, "a", "b")]) == [
        f"'{name}': own.Thing was left out, because 'a.proto' declares it differently"
    ]
    assert fields_of(types, "own.Thing") == ["a"]


def test_packages_that_need_each_other_are_linked_by_name() -> None:
    """Protobufjs makes one file of each package, drops the imports and writes relative names."""
    one = """
        name: "acme_v1.proto" package: "acme.v1" syntax: "proto3"
        message_type { name: "Id" field { name: "textValue" number: 1 TEXT } }
        message_type {
          name: "Build"
          field { name: "label" number: 1 MESSAGE type_name: "common.Label" }
          field { name: "part" number: 2 MESSAGE type_name: "Build" }
        }
    """
    other = """
        name: "acme_common.proto" package: "acme.common" syntax: "proto3"
        message_type { name: "Label" field { name: "id" number: 1 MESSAGE type_name: "v1.Id" } }
    """
    texts = (text.replace("MESSAGE", MESSAGE).replace("TEXT", TEXT) for text in (one, other))
    types = types_of(*map(parsed, texts))
    content = b"\x12\x07\x0a\x05\x0a\x03\x0a\x01v"
    assert printed(types, "acme.v1.Build", content) == {
        "part": {"label": {"id": {"textValue": "v"}}}
    }
    assert fields_of(types, "acme.v1.Id") == ["text_value"]


def test_types_of_two_files_that_hold_each_other_are_both_known() -> None:
    """No file can hold both, so one of them sees the other as bytes."""
    files = [file(f"{name}.proto", package=name) for name in ("one", "two")]
    for made, other in zip(files, ("two", "one"), strict=True):
        made.message_type[0].field.add(
            name="x", number=1, label=1, type=11, type_name=f".{other}.Thing"
        )
    types = TypeSet()
    assert len(types.add(files)) == 1
    assert fields_of(types, "one.Thing") == fields_of(types, "two.Thing") == ["x"]


def test_a_long_chain_of_types_is_linked() -> None:
    """The chain is longer than Python's stack."""
    made = FileDescriptorProto(name="long.proto", package="long", dependency=["gone.proto"])
    for index in range(3000):
        message = made.message_type.add(name=f"M{index}")
        message.field.add(name="x", number=1, label=1, type=11, type_name=f".long.M{index + 1}")
    types = TypeSet()
    (problem,) = types.add([made])
    assert problem.startswith("the type 'long.M3000' is not known, so long.M2999.x is bytes")
    assert fields_of(types, "long.M0") == ["x"]


def test_the_names_of_types_are_those_of_all_references() -> None:
    """Each name is there once. A full name has no scope."""
    relative = FileDescriptorProto(name="relative.proto", package="relative")
    message = relative.message_type.add(name="Outer")
    message.field.add(name="other", number=1, type_name="Inner")
    message.field.add(name="same", number=2, type_name="Inner")
    message.nested_type.add(name="Inner").field.add(name="up", number=1, type_name="Outer")
    relative.extension.add(name="extra", number=9, extendee=".relative.Outer", type_name="Outer")
    for declared in (*factory.descriptor_set().file, relative):
        expected = {
            ("" if each.written.startswith(".") else each.scope, each.written)
            for each in references(declared)
        }
        assert completed(type_names(declared)).keys() == expected
    assert completed(type_names(relative)).keys() == {
        ("relative.Outer", "Inner"),
        ("relative.Outer.Inner", "Outer"),
        ("relative", "Outer"),
        ("", ".relative.Outer"),
    }
