"""Counting the elements of a message in its bytes."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pb2, struct_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.descriptors.elements import Budget, Capacity, TooManyElementsError, count
from lro_gateway.descriptors.message_types import is_map
from lro_gateway.descriptors.type_set import TypeSet

FILE = descriptor_pb2.FileDescriptorProto
ENDLESS = 10**9
TYPES = TypeSet()


def elements_of(message: Any) -> int:
    """Count the elements of a parsed message."""
    total = 0
    for field, value in message.ListFields():
        if is_map(field):
            inner = sum(
                elements_of(value[key]) for key in value if hasattr(value[key], "ListFields")
            )
            total += 3 * len(value) + inner
        elif field.message_type is not None:
            each = value if field.is_repeated else [value]
            total += sum(1 + elements_of(item) for item in each)
        elif field.is_repeated and field.is_packed:
            total += 1 + len(value)
        else:
            total += len(value) if field.is_repeated else 1
    return total


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_the_elements_of_any_struct_are_counted(value: dict[str, Any]) -> None:
    """An entry of a map is an element, and so are its key and its value."""
    message = struct_pb2.Struct()
    message.update(value)
    assert count(message.SerializeToString(), message.DESCRIPTOR, ENDLESS) == elements_of(message)


@given(st.lists(st.integers(-(2**31), 2**31 - 1)), st.lists(st.text(max_size=3)))
def test_packed_numbers_and_texts_are_counted(numbers: list[int], texts: list[str]) -> None:
    """A packed field of numbers of any length has one element for each."""
    location = descriptor_pb2.SourceCodeInfo.Location(path=numbers, leading_detached_comments=texts)
    message = descriptor_pb2.SourceCodeInfo(location=[location])
    expected = 1 + (1 + len(numbers) if numbers else 0) + len(texts)
    assert count(message.SerializeToString(), message.DESCRIPTOR, ENDLESS) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", 0),
        (b"\xf8\x07\x01", 1),
        (b"\xfd\x07abcd", 1),
        (b"\xf9\x07abcdefgh", 1),
        (b"\xfb\x07\x08\x01\x08\x02\xfc\x07", 4),
        (b"\x12\x00", 1),
        (b"\x12\x80\x00", 1),
    ],
    ids=["nothing", "varint", "fixed32", "fixed64", "group", "a name", "a long length"],
)
def test_fields_that_the_type_does_not_have_count_too(content: bytes, expected: int) -> None:
    """The library keeps unknown fields, and compares them."""
    assert count(content, FILE.DESCRIPTOR, ENDLESS) == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_counted_without_an_error(content: bytes) -> None:
    """The library refuses malformed bytes later."""
    assert count(content, FILE.DESCRIPTOR, ENDLESS, TYPES.descriptor) <= len(content)


@pytest.mark.parametrize(
    "content",
    [b"\xff" * 2**22, b"\x08" + b"\xff" * 2**22, b"\x0b" * 2**22, b"\x0a\xff\xff\xff\xff\x0f"],
    ids=["endless tag", "endless varint", "endless groups", "length after the end"],
)
def test_malformed_bytes_are_not_read_to_their_end(content: bytes) -> None:
    """A count must not take longer than its limit allows."""
    assert count(content, FILE.DESCRIPTOR, ENDLESS) <= 101


def test_a_count_ends_soon_after_its_limit() -> None:
    """The packed field of four million numbers is not counted to its end."""
    path = descriptor_pb2.SourceCodeInfo.Location(path=[1] * 2**22)
    message = descriptor_pb2.SourceCodeInfo(location=[path])
    content = message.SerializeToString()
    assert count(content, message.DESCRIPTOR, 1000) == 1001
    assert count(content, message.DESCRIPTOR, ENDLESS) == 2**22 + 2


def test_messages_in_anys_count_only_if_their_types_can_be_found() -> None:
    """An Any itself has a type URL and a value."""
    inner = any_pb2.Any()
    inner.Pack(struct_pb2.ListValue(values=[struct_pb2.Value(bool_value=True)]))
    outer = any_pb2.Any()
    outer.Pack(status_pb2.Status(details=[inner]))
    content = outer.SerializeToString()
    assert count(content, outer.DESCRIPTOR, ENDLESS) == 2
    found = {status_pb2.Status.DESCRIPTOR.full_name: status_pb2.Status.DESCRIPTOR}
    assert count(content, outer.DESCRIPTOR, ENDLESS, found.get) == 5
    found["google.protobuf.ListValue"] = struct_pb2.ListValue.DESCRIPTOR
    assert count(content, outer.DESCRIPTOR, ENDLESS, found.get) == 7
    assert count(content, outer.DESCRIPTOR, ENDLESS, TYPES.descriptor) == 2


def wide_types() -> TypeSet:
    """Return types of which a message costs much more than its bytes."""
    wide = descriptor_pb2.DescriptorProto(name="Wide")
    for number in range(1, 321):
        wide.field.add(name=f"f{number}", number=number, type=FieldDescriptor.TYPE_INT64, label=1)
    named = descriptor_pb2.DescriptorProto(name="Named")
    named.field.add(name="n" * 640, number=1, type=FieldDescriptor.TYPE_BOOL, label=1)
    holder = descriptor_pb2.DescriptorProto(name="Holder")
    for number, name in enumerate(("Wide", "Named"), 1):
        kind = FieldDescriptor.TYPE_MESSAGE
        holder.field.add(name=name, number=number, type=kind, type_name=f".own.{name}", label=3)
    file = FILE(name="wide.proto", package="own", message_type=[wide, named, holder])
    types = TypeSet()
    assert types.add([file]) == []
    return types


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"\x0a\x00", 11), (b"\x12\x00", 1), (b"\x12\x02\x08\x01", 12)],
    ids=["320 fields", "no field", "a long name"],
)
def test_wide_messages_and_long_names_count_as_more_elements(content: bytes, expected: int) -> None:
    """An empty message of 320 fields needs kilobytes, and its bytes are two."""
    holder = wide_types().descriptor("own.Holder")
    assert holder is not None
    assert count(content, holder, ENDLESS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a" * 2048, 1), ("\n" * 2048, 1), ("\x01" * 1023, 1), ("\x01" * 2048, 129)],
    ids=["letters", "line breaks", "a short text", "control characters"],
)
def test_control_characters_of_long_texts_count(text: str, expected: int) -> None:
    """JSON writes each of them with six characters."""
    message = struct_pb2.Value(string_value=text)
    assert count(message.SerializeToString(), message.DESCRIPTOR, ENDLESS) == expected


def test_extensions_count_with_their_elements() -> None:
    """An extension that the pool knows is a field, and its message has elements."""
    options = descriptor_pb2.DescriptorProto(name="Extended")
    options.extension_range.add(start=100, end=200)
    file = FILE(name="extended.proto", package="own", message_type=[options])
    file.extension.add(
        name="more",
        number=100,
        type=FieldDescriptor.TYPE_MESSAGE,
        type_name=".own.Extended",
        extendee=".own.Extended",
        label=3,
    )
    types = TypeSet()
    assert types.add([file]) == []
    extended = types.descriptor("own.Extended")
    assert extended is not None
    assert count(b"\xa2\x06\x05\xa2\x06\x02\x08\x01", extended, ENDLESS) == 3


def test_a_budget_is_shared_by_all_messages_that_take_of_it() -> None:
    """The message that is too large takes nothing, so that a smaller one may follow."""
    budget, kind = Budget(10), FILE.DESCRIPTOR
    budget.take(b"\x1a\x00" * 6, kind)
    with pytest.raises(TooManyElementsError, match="more than 10 elements, the limit of"):
        budget.take(b"\x1a\x00" * 5, kind)
    budget.take(b"\x1a\x00" * 4, kind)


async def test_only_work_with_large_messages_leaves_the_thread_of_the_loop() -> None:
    """A change of threads costs more than the work with a small message."""
    capacity = Capacity()
    assert await capacity.run(4096, threading.get_ident) == threading.get_ident()
    assert not capacity.was_used()
    assert await capacity.run(4097, threading.get_ident) != threading.get_ident()
    assert capacity.was_used()
    assert not capacity.was_used()
