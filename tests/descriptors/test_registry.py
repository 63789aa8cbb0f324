"""A backend's types: where they are found, what is remembered, and how they are refreshed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.descriptors.anys import unresolved
from lro_gateway.descriptors.printing import any_to_json
from lro_gateway.descriptors.registry import FAILED_FOR, NOT_FOUND_FOR, TypeRegistry
from lro_gateway.descriptors.sources import SourceError, SourceUnavailableError
from lro_gateway.descriptors.type_set import TypeSet
from tests.descriptors.made_types import fields_of, file
from tests.shapes import message


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Memory:
    """A source that has files in memory, by the symbol they are asked by; it counts the asks."""

    files: dict[str, list[FileDescriptorProto]]
    label: str = "memory"
    error: SourceError | None = None
    served: Sequence[str] = ()
    asked: list[str] = field(default_factory=list)

    async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
        self.asked.append(symbol)
        await asyncio.sleep(0)  # as any source that has to look somewhere
        if self.error:
            raise self.error
        if symbol not in self.files and symbol in self.served:
            raise SourceError("malformed")
        return self.files.get(symbol, [])

    async def services(self) -> Sequence[str]:
        return self.served


def opened(*sources: Memory) -> tuple[TypeRegistry, Clock]:
    """Return a registry of these sources, and its clock."""
    clock = Clock()
    return TypeRegistry("b", sources, clock=clock), clock


async def test_the_first_source_that_knows_a_type_wins() -> None:
    """The sources are asked in their order, and no further than needed."""
    nothing = Memory({})
    first = Memory({"own.Thing": [file("first.proto", "first")]})
    second = Memory({"own.Thing": [file("second.proto", "second")]})
    registry, _ = opened(nothing, first, second)
    await registry.ensure(["own.Thing"])
    await registry.ensure(["own.Thing"])
    assert fields_of(registry.types, "own.Thing") == ["first"]
    assert (nothing.asked, first.asked, second.asked) == (["own.Thing"], ["own.Thing"], [])


async def test_common_types_are_found_without_any_source() -> None:
    """The well-known types at once, google.rpc and the like when they are asked for."""
    registry, _ = opened()
    assert fields_of(registry.types, "google.protobuf.Duration") == ["seconds", "nanos"]
    assert fields_of(registry.types, "google.rpc.ErrorInfo") is None
    await registry.ensure(["google.rpc.ErrorInfo", "google.type.Money"])
    assert fields_of(registry.types, "google.rpc.ErrorInfo") == ["reason", "domain", "metadata"]
    assert fields_of(registry.types, "google.type.Money") == ["currency_code", "units", "nanos"]


async def test_a_backends_own_version_of_a_common_file_is_used() -> None:
    """Its pool is its own: the common one comes last, and only where the backend has none."""
    older = file(
        "google/rpc/error_details.proto", "why", package="google.rpc", type_name="ErrorInfo"
    )
    registry, _ = opened(Memory({"google.rpc.ErrorInfo": [older]}))
    await registry.ensure(["google.rpc.ErrorInfo"])
    assert fields_of(registry.types, "google.rpc.ErrorInfo") == ["why"]


async def test_a_type_whose_file_lacks_an_import_says_so() -> None:
    """A descriptor set made without its imports is a common mistake."""
    made = file("lacking.proto", "a")
    made.dependency.append("missing.proto")
    made.message_type[0].field.add(name="x", number=9, type=11, label=1, type_name=".no.Such")
    registry, _ = opened(Memory({"own.Thing": [made]}, label="builds.binpb"))
    await registry.ensure(["own.Thing"])
    why = registry.types.why_missing("own.Thing")
    assert why.startswith("no descriptor of own.Thing: builds.binpb: 'lacking.proto' was left out")
    assert "missing.proto" in why


async def test_a_type_nobody_knows_is_not_asked_for_again_until_its_time() -> None:
    """A miss costs one question a minute, and says who was asked."""
    source = Memory({})
    registry, clock = opened(source)
    await registry.ensure(["own.Thing"])
    clock.now += NOT_FOUND_FOR - 1
    await registry.ensure(["own.Thing"])
    assert source.asked == ["own.Thing"]
    assert registry.types.why_missing("own.Thing") == (
        "no descriptor of own.Thing in memory, googleapis-common-protos"
    )
    source.files["own.Thing"] = [file("late.proto", "late")]
    clock.now += 2
    await registry.ensure(["own.Thing"])
    assert fields_of(registry.types, "own.Thing") == ["late"]


async def test_a_type_is_asked_for_again_soon_after_a_source_failed() -> None:
    """What could not be found out is not the same as unknown."""
    source = Memory({"own.Thing": [file("own.proto", "a")]}, error=SourceError("it is down"))
    registry, clock = opened(source)
    await registry.ensure(["own.Thing"])
    assert registry.types.why_missing("own.Thing") == "no descriptor of own.Thing: it is down"
    source.error = None
    await registry.ensure(["own.Thing"])
    assert fields_of(registry.types, "own.Thing") is None
    clock.now += FAILED_FOR + 1
    await registry.ensure(["own.Thing"])
    assert fields_of(registry.types, "own.Thing") == ["a"]


async def test_a_source_that_does_not_answer_is_left_alone_for_a_while() -> None:
    """One that hangs costs its deadline once, not once for each type; others are asked."""
    hanging = Memory({}, error=SourceUnavailableError("no answer within 5 s"))
    other = Memory({"own.Thing": [file("own.proto", "a")]})
    registry, clock = opened(hanging, other)
    await registry.ensure(["no.A", "no.B", "own.Thing"])
    assert (hanging.asked, other.asked) == (["no.A"], ["no.A", "no.B", "own.Thing"])
    assert fields_of(registry.types, "own.Thing") == ["a"]
    assert registry.types.why_missing("no.B") == "no descriptor of no.B: no answer within 5 s"
    clock.now += FAILED_FOR + 1
    await registry.ensure(["no.C"])
    assert hanging.asked == ["no.A", "no.C"]


@pytest.mark.parametrize(
    "name", ["", ".own.Thing", "own.Thing.", "own..Thing", "own Thing", "é", "\0", "a" * 513]
)
async def test_what_cannot_be_a_type_is_never_asked_for(name: str) -> None:
    """Nor remembered: a payload may hold any number of such names, of any length."""
    source = Memory({})
    registry, _ = opened(source)
    await registry.ensure([name])
    assert source.asked == []
    assert registry.types.is_missed(name)
    assert registry.types.why_missing(name) == "its type URL does not end in a message name"


async def test_asks_at_the_same_time_are_one_ask() -> None:
    """Of a type that is found, and of one that is not."""
    source = Memory({"own.Thing": [file("own.proto", "a")]})
    registry, _ = opened(source)
    await asyncio.gather(*(registry.ensure(["own.Thing", "no.Such"]) for _ in range(20)))
    assert source.asked == ["own.Thing", "no.Such"]


@dataclass
class Naming:
    """Says of any set that it lacks these types."""

    names: Collection[str]

    def __call__(self, _: TypeSet) -> Collection[str]:
        return self.names


async def test_a_flood_of_unknown_types_costs_a_bounded_number_of_asks() -> None:
    """In one message and over many; it ends, although not all of them can be remembered."""
    source = Memory({})
    registry, _ = opened(source)
    for wave in range(12):
        names = {f"flood.W{wave}N{index}" for index in range(5000)}
        await registry.complete(Naming(names))
        assert len(source.asked) == 128 * (wave + 1)
    await registry.ensure(["own.Thing"])
    assert registry.types.is_missed("own.Thing")


async def test_completing_ends_although_every_miss_expires_meanwhile() -> None:
    """Slow sources outlast the memory of a miss; a type is still asked for once only."""
    clock = Clock()

    class Slow(Memory):
        async def find(self, symbol: str) -> Sequence[FileDescriptorProto]:
            clock.now += 10 * NOT_FOUND_FOR
            return await super().find(symbol)

    source = Slow({})
    registry = TypeRegistry("b", [source], clock=clock)
    await registry.complete(Naming(["no.A", "no.B", "no.C"]))
    assert source.asked == ["no.A", "no.B", "no.C"]


async def test_types_in_anys_in_anys_are_completed_round_by_round() -> None:
    """Each layer shows its types only when the one above is known."""
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
    registry, _ = opened(source)
    types = await registry.complete(lambda known: unresolved(outer, known))
    assert source.asked == ["middle.Holder", "own.Thing"]
    assert any_to_json(outer, types) == {
        "@type": "x/middle.Holder",
        "held": {"@type": "x/own.Thing", "a": "v"},
    }


async def test_a_refresh_brings_what_has_changed() -> None:
    """An operation keeps the set it was read with; later ones get the new one."""
    source = Memory({"own.Thing": [file("own.proto", "old")]})
    registry, _ = opened(source)
    await registry.ensure(["own.Thing", "google.rpc.Help"])
    before = registry.types
    assert await registry.refresh() is False
    assert registry.types is before
    source.files["own.Thing"] = [file("own.proto", "new")]
    assert await registry.refresh() is True
    assert fields_of(registry.types, "own.Thing") == ["new"]
    assert fields_of(registry.types, "google.rpc.Help") == ["links"]
    assert fields_of(before, "own.Thing") == ["old"]
    assert await registry.refresh() is False


async def test_the_last_good_set_is_kept_when_a_source_fails_or_a_type_is_gone() -> None:
    """Old descriptors are better than none."""
    source = Memory({"own.Thing": [file("own.proto", "a")]})
    registry, _ = opened(source)
    await registry.ensure(["own.Thing"])
    before = registry.types
    source.error = SourceError("it is down")
    assert await registry.refresh() is False
    source.error = None
    source.files.clear()
    assert await registry.refresh() is False
    assert registry.types is before


async def test_a_failing_source_is_not_replaced_by_a_later_one() -> None:
    """Its own version of a type stays, although another source has one as well."""
    first = Memory({"own.Thing": [file("own.proto", "first")]})
    second = Memory({"own.Thing": [file("own.proto", "second")]})
    registry, _ = opened(first, second)
    await registry.ensure(["own.Thing"])
    first.error = SourceError("it is down")
    assert await registry.refresh() is False
    assert fields_of(registry.types, "own.Thing") == ["first"]


async def test_a_source_that_never_works_does_not_stop_refreshes() -> None:
    """What came from a later source is refreshed from there."""
    broken = Memory({}, error=SourceError("reflection is not served"))
    working = Memory({"own.Thing": [file("own.proto", "old")]})
    registry, _ = opened(broken, working)
    await registry.ensure(["own.Thing"])
    working.files["own.Thing"] = [file("own.proto", "new")]
    assert await registry.refresh() is True
    assert fields_of(registry.types, "own.Thing") == ["new"]


async def test_a_type_met_during_a_refresh_is_not_lost_by_it() -> None:
    """Calls go on while descriptors are fetched."""
    source = Memory({"own.Thing": [file("own.proto", "old")]})
    late = file("late.proto", "late", package="late")
    registry, _ = opened(source)
    await registry.ensure(["own.Thing"])
    source.files = {"own.Thing": [file("own.proto", "new")], "late.Thing": [late]}
    outcomes = await asyncio.gather(registry.refresh(), registry.ensure(["late.Thing"]))
    assert outcomes[0] is True
    assert fields_of(registry.types, "own.Thing") == ["new"]
    assert fields_of(registry.types, "late.Thing") == ["late"]


async def test_nothing_unknown_asks_nobody() -> None:
    """The ordinary case costs nothing."""
    source = Memory({})
    registry, _ = opened(source)
    assert await registry.complete(Naming([])) is registry.types
    assert source.asked == []


async def test_a_service_that_cannot_be_had_does_not_take_the_others_with_it() -> None:
    """It is asked for again later."""
    served = ["own.First", "own.Broken", "own.Last"]
    files = {name: [file(f"{name}.proto", type_name=name[4:])] for name in (served[0], served[2])}
    registry, clock = opened(source := Memory(files, served=served))
    await registry.discover()
    assert registry.services == ("own.First", "own.Last")
    source.files["own.Broken"] = []
    clock.now += FAILED_FOR
    await registry.discover()
    assert registry.services == tuple(served)
