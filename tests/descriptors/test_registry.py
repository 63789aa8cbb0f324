"""The types of a backend: looking them up, keeping the outcome, and refreshing them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.descriptors.anys import unresolved
from lro_gateway.descriptors.descriptor_file import DescriptorFile
from lro_gateway.descriptors.printing import any_to_json
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.source_list import FAILED_FOR, NOT_FOUND_FOR
from lro_gateway.descriptors.sources import SourceError, SourceUnavailableError
from lro_gateway.descriptors.type_set import TypeSet
from tests.descriptors.made_types import fields_of, file
from tests.shapes import message


@dataclass
class Clock:
    """A clock whose time, in seconds, is set by a test."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def packed(files: Iterable[FileDescriptorProto]) -> list[DescriptorFile]:
    """Return files as a source returns them."""
    return [*map(DescriptorFile.of, files)]


@dataclass(eq=False)
class Memory:
    """A source with files in memory, by symbol. It records which symbols are looked up."""

    files: dict[str, list[FileDescriptorProto]]
    label: str = "memory"
    error: SourceError | None = None
    served: Sequence[str] = ()
    look_ups: list[str] = field(default_factory=list)
    forgotten: int = 0

    async def find(self, symbol: str) -> Sequence[DescriptorFile]:
        self.look_ups.append(symbol)
        await asyncio.sleep(0)  # Other tasks may run, as during the look-up of a real source.
        if self.error:
            raise self.error
        if symbol not in self.files and symbol in self.served:
            raise SourceError("malformed")
        return packed(self.files.get(symbol, []))

    async def find_file(self, name: str) -> Sequence[DescriptorFile]:
        known = [each for found in self.files.values() for each in found]
        return packed(each for each in known if each.name == name)[:1]

    async def find_extension(self, extended: str, number: int) -> Sequence[DescriptorFile]:
        return packed(self.files.get(f"{extended}/{number}", []))

    async def services(self) -> Sequence[str]:
        return self.served

    def forget(self) -> None:
        self.forgotten += 1


def registry_of(*sources: Memory) -> tuple[TypeRegistry, Clock]:
    """Return a registry with these sources, and its clock."""
    clock = Clock()
    return TypeRegistry("b", sources, clock=clock), clock


async def test_the_first_source_that_knows_a_type_wins() -> None:
    """The sources are tried in order. Those after the first that knows the type are not called."""
    nothing = Memory({})
    first = Memory({"own.Thing": [file("first.proto", "first")]})
    second = Memory({"own.Thing": [file("second.proto", "second")]})
    registry, _ = registry_of(nothing, first, second)
    await registry.ensure(["own.Thing"])
    await registry.ensure(["own.Thing"])
    assert fields_of(registry.types, "own.Thing") == ["first"]
    assert (nothing.look_ups, first.look_ups, second.look_ups) == (["own.Thing"], ["own.Thing"], [])


async def test_common_types_are_found_without_any_source() -> None:
    """The well-known types are known from the start. Types of google.rpc are looked up."""
    registry, _ = registry_of()
    assert fields_of(registry.types, "google.protobuf.Duration") == ["seconds", "nanos"]
    assert fields_of(registry.types, "google.rpc.ErrorInfo") is None
    await registry.ensure(["google.rpc.ErrorInfo", "google.type.Money"])
    assert fields_of(registry.types, "google.rpc.ErrorInfo") == ["reason", "domain", "metadata"]
    assert fields_of(registry.types, "google.type.Money") == ["currency_code", "units", "nanos"]


async def test_a_backends_own_version_of_a_common_file_is_used() -> None:
    """Each backend has its own pool, and its own sources come before the common types."""
    older = file(
        "google/rpc/error_details.proto", "why", package="google.rpc", type_name="ErrorInfo"
    )
    registry, _ = registry_of(Memory({"google.rpc.ErrorInfo": [older]}))
    await registry.ensure(["google.rpc.ErrorInfo"])
    assert fields_of(registry.types, "google.rpc.ErrorInfo") == ["why"]


async def test_a_field_of_a_type_that_no_source_has_is_bytes() -> None:
    """Descriptor sets are often made without imports by mistake. The other fields are usable."""
    made = file("lacking.proto", "a")
    made.dependency.append("missing.proto")
    made.message_type[0].field.add(name="x", number=9, type=11, label=1, type_name=".no.Such")
    registry, _ = registry_of(Memory({"own.Thing": [made]}, label="builds.binpb"))
    await registry.ensure(["own.Thing"])
    assert fields_of(registry.types, "own.Thing") == ["a", "x"]
    assert registry.types.problems == (
        (
            "the type 'no.Such' is not known, so own.Thing.x is bytes; add a FileDescriptorSet that"
            " declares the type to the setting descriptors"
        ),
    )


async def test_an_unknown_type_is_looked_up_again_only_after_a_minute() -> None:
    """The error text names the sources at which the type was looked up."""
    source = Memory({})
    registry, clock = registry_of(source)
    await registry.ensure(["own.Thing"])
    clock.now += NOT_FOUND_FOR - 1
    await registry.ensure(["own.Thing"])
    assert source.look_ups == ["own.Thing"]
    assert registry.types.why_missing("own.Thing") == (
        "no descriptor of own.Thing in memory, googleapis-common-protos"
    )
    source.files["own.Thing"] = [file("late.proto", "late")]
    clock.now += 2
    await registry.ensure(["own.Thing"])
    assert fields_of(registry.types, "own.Thing") == ["late"]


async def test_a_type_is_looked_up_again_after_5_seconds_if_a_source_failed() -> None:
    """A source that failed may know the type, unlike a source that answered."""
    source = Memory({"own.Thing": [file("own.proto", "a")]}, error=SourceError("it is down"))
    registry, clock = registry_of(source)
    await registry.ensure(["own.Thing"])
    assert registry.types.why_missing("own.Thing") == "no descriptor of own.Thing: it is down"
    source.error = None
    await registry.ensure(["own.Thing"])
    assert fields_of(registry.types, "own.Thing") is None
    clock.now += FAILED_FOR + 1
    await registry.ensure(["own.Thing"])
    assert fields_of(registry.types, "own.Thing") == ["a"]


async def test_an_unavailable_source_is_not_called_for_5_seconds() -> None:
    """A source that hangs delays one look-up, and not each. The other sources are called."""
    hanging = Memory({}, error=SourceUnavailableError("no answer within 5 s"))
    other = Memory({"own.Thing": [file("own.proto", "a")]})
    registry, clock = registry_of(hanging, other)
    await registry.ensure(["no.A", "no.B", "own.Thing"])
    assert (hanging.look_ups, other.look_ups) == (["no.A"], ["no.A", "no.B", "own.Thing"])
    assert fields_of(registry.types, "own.Thing") == ["a"]
    assert registry.types.why_missing("no.B") == "no descriptor of no.B: no answer within 5 s"
    clock.now += FAILED_FOR + 1
    await registry.ensure(["no.C"])
    assert hanging.look_ups == ["no.A", "no.C"]


@pytest.mark.parametrize(
    "name", ["", ".own.Thing", "own.Thing.", "own..Thing", "own Thing", "é", "\0", "a" * 513]
)
async def test_a_name_that_cannot_be_a_type_is_never_looked_up(name: str) -> None:
    """Such names are not kept either, because payloads may hold many of them, of any length."""
    source = Memory({})
    registry, _ = registry_of(source)
    await registry.ensure([name])
    assert source.look_ups == []
    assert registry.types.is_missed(name)
    assert registry.types.why_missing(name) == "its type URL does not end in a message name"


async def test_look_ups_of_a_type_at_the_same_time_are_one_look_up() -> None:
    """One type of this test is found, and the other is not."""
    source = Memory({"own.Thing": [file("own.proto", "a")]})
    registry, _ = registry_of(source)
    await asyncio.gather(*(registry.ensure(["own.Thing", "no.Such"]) for _ in range(20)))
    assert source.look_ups == ["own.Thing", "no.Such"]


@dataclass
class Naming:
    """A function that names these types as unresolved for every set."""

    names: Collection[str]

    def __call__(self, _: TypeSet) -> Collection[str]:
        return self.names


async def test_unknown_types_cause_at_most_128_look_ups_for_a_message() -> None:
    """The misses of many messages are more than the registry keeps."""
    source = Memory({})
    registry, _ = registry_of(source)
    for wave in range(12):
        names = {f"flood.W{wave}N{index}" for index in range(5000)}
        await registry.complete(Naming(names))
        assert len(source.look_ups) == 128 * (wave + 1)
    await registry.ensure(["own.Thing"])
    assert registry.types.is_missed("own.Thing")


async def test_completing_ends_even_if_every_miss_expires_meanwhile() -> None:
    """A slow source may take longer than a miss is kept. Each type is still looked up once."""
    clock = Clock()

    class Slow(Memory):
        async def find(self, symbol: str) -> Sequence[DescriptorFile]:
            clock.now += 10 * NOT_FOUND_FOR
            return await super().find(symbol)

    source = Slow({})
    registry = TypeRegistry("b", [source], clock=clock)
    await registry.complete(Naming(["no.A", "no.B", "no.C"]))
    assert source.look_ups == ["no.A", "no.B", "no.C"]


async def test_types_in_anys_in_anys_are_completed_round_by_round() -> None:
    """The types inside an Any can be named only when the type of the Any is known."""
    inner = message("google.protobuf.Any", type_url="x/own.Thing", value=b"\x0a\x01v")
    middle = file("middle.proto", package="middle", type_name="Holder")
    middle.dependency.append("google/protobuf/any.proto")
    middle.message_type[0].field.add(
        name="held", number=1, type=11, label=1, type_name=".google.protobuf.Any"
    )
    content = inner.SerializeToString()
    outer = message(
        "google.protobuf.Any",
        type_url="x/middle.Holder",
        value=b"\x0a" + bytes([len(content)]) + content,
    )
    source = Memory({"middle.Holder": [middle], "own.Thing": [file("own.proto", "a")]})
    registry, _ = registry_of(source)
    types = await registry.complete(lambda known: unresolved(outer, known))
    assert source.look_ups == ["middle.Holder", "own.Thing"]
    assert any_to_json(outer, types) == {
        "@type": "x/middle.Holder",
        "held": {"@type": "x/own.Thing", "a": "v"},
    }


async def test_a_refresh_makes_a_new_set_if_a_type_has_changed() -> None:
    """The old set does not change, because operations keep the set with which they were read."""
    source = Memory({"own.Thing": [file("own.proto", "old")]})
    registry, _ = registry_of(source)
    await registry.ensure(["own.Thing", "google.rpc.Help"])
    before = registry.types
    assert await registry.refresh() is False
    assert registry.types is before
    assert source.forgotten == 1
    source.files["own.Thing"] = [file("own.proto", "new")]
    assert await registry.refresh() is True
    assert fields_of(registry.types, "own.Thing") == ["new"]
    assert fields_of(registry.types, "google.rpc.Help") == ["links"]
    assert fields_of(before, "own.Thing") == ["old"]
    assert await registry.refresh() is False


async def test_the_set_is_kept_if_a_source_fails_or_a_type_is_not_found_again() -> None:
    """Old descriptors are better than none."""
    source = Memory({"own.Thing": [file("own.proto", "a")]})
    registry, _ = registry_of(source)
    await registry.ensure(["own.Thing"])
    before = registry.types
    source.error = SourceError("it is down")
    assert await registry.refresh() is False
    source.error = None
    source.files.clear()
    assert await registry.refresh() is False
    assert registry.types is before


async def test_a_failing_source_is_not_replaced_by_a_later_one() -> None:
    """A refresh keeps the version of the failing source, even if another source has the type."""
    first = Memory({"own.Thing": [file("own.proto", "first")]})
    second = Memory({"own.Thing": [file("own.proto", "second")]})
    registry, _ = registry_of(first, second)
    await registry.ensure(["own.Thing"])
    first.error = SourceError("it is down")
    assert await registry.refresh() is False
    assert fields_of(registry.types, "own.Thing") == ["first"]


async def test_a_source_that_never_works_does_not_stop_refreshes() -> None:
    """A type from a later source is refreshed from that source."""
    broken = Memory({}, error=SourceError("reflection is not served"))
    working = Memory({"own.Thing": [file("own.proto", "old")]})
    registry, _ = registry_of(broken, working)
    await registry.ensure(["own.Thing"])
    working.files["own.Thing"] = [file("own.proto", "new")]
    assert await registry.refresh() is True
    assert fields_of(registry.types, "own.Thing") == ["new"]


async def test_a_type_that_is_found_during_a_refresh_is_kept() -> None:
    """Calls continue while a refresh looks up descriptors."""
    source = Memory({"own.Thing": [file("own.proto", "old")]})
    late = file("late.proto", "late", package="late")
    registry, _ = registry_of(source)
    await registry.ensure(["own.Thing"])
    source.files = {"own.Thing": [file("own.proto", "new")], "late.Thing": [late]}
    outcomes = await asyncio.gather(registry.refresh(), registry.ensure(["late.Thing"]))
    assert outcomes[0] is True
    assert fields_of(registry.types, "own.Thing") == ["new"]
    assert fields_of(registry.types, "late.Thing") == ["late"]


async def test_no_source_is_called_if_all_types_are_known() -> None:
    """Most messages need no look-up."""
    source = Memory({})
    registry, _ = registry_of(source)
    assert await registry.complete(Naming([])) is registry.types
    assert source.look_ups == []


async def test_a_service_that_is_not_found_does_not_affect_the_others() -> None:
    """A service that was not found is looked up again after 5 seconds."""
    served = ["own.First", "own.Broken", "own.Last"]
    files = {name: [file(f"{name}.proto", type_name=name[4:])] for name in (served[0], served[2])}
    registry, clock = registry_of(source := Memory(files, served=served))
    await registry.discover()
    assert registry.services == ("own.First", "own.Last")
    source.files["own.Broken"] = []
    clock.now += FAILED_FOR
    await registry.discover()
    assert registry.services == tuple(served)


@dataclass(eq=False)
class Broken(Memory):
    """A source that raises exceptions that no source should raise."""

    async def find(self, symbol: str) -> Sequence[DescriptorFile]:
        raise AttributeError(symbol)

    async def services(self) -> Sequence[str]:
        if self.served:
            return self.served
        raise TypeError("no services")


@pytest.mark.parametrize("served", [[], ["v1.Broken", "v1.Other"]])
async def test_an_unexpected_exception_of_a_source_does_not_affect_the_other_sources(
    served: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The exception is a problem of this source, and the log has its traceback."""
    sound = Memory({"v1.Sound": [file("v1/sound.proto")]}, served=["v1.Sound"])
    registry, _ = registry_of(Broken({}, served=served), sound)
    await registry.discover()
    assert registry.was_discovered
    (problem,) = registry.problems
    assert problem.endswith("failed; the log has the reason")
    assert any(record.exc_info for record in caplog.records)
    assert sound.look_ups == ["v1.Sound"]
