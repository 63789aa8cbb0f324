"""The catalog: which methods are offered, by which backends, and with which hints."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from lro_gateway.backends.backend import Backend
from lro_gateway.backends.channel import Endpoint, open_channel
from lro_gateway.background import BackgroundTasks
from lro_gateway.descriptors.descriptor_file import DescriptorFile
from lro_gateway.descriptors.hints import Hints
from lro_gateway.descriptors.registry import TypeRegistry
from lro_gateway.descriptors.source_list import FAILED_FOR
from lro_gateway.descriptors.sources import FileSource, SourceError
from lro_gateway.operations.names import GatewayName
from lro_gateway.service.catalog import RESERVED_NAMES, Catalog, Offer
from lro_gateway.service.offer_rules import OfferRules
from tests import factory

LONG_RUNNING = ["build_machine", "delete_machine", "overhaul", "update_machine"]


@asynccontextmanager
async def catalog(
    descriptors: Path, rules: Mapping[str, OfferRules] | None = None
) -> AsyncIterator[tuple[Catalog, Backend]]:
    """Yield a catalog and its first backend.

    It has a backend for each of the `rules`, or one backend `b`. The descriptors come from a file,
    and no server runs.
    """
    rules = rules or {"b": OfferRules()}
    backends = {}
    async with AsyncExitStack() as stack:
        for name in rules:
            endpoint = Endpoint(name, "127.0.0.1:1")
            channel = open_channel(endpoint)
            stack.push_async_callback(channel.close, None)
            registry = TypeRegistry(name, [FileSource(descriptors)])
            backends[name] = Backend(
                endpoint, channel, registry, public_name=GatewayName, public_parent=GatewayName
            )
        tasks = await stack.enter_async_context(BackgroundTasks(timedelta(seconds=1)))
        offered = Catalog(backends, rules, RESERVED_NAMES, tasks)
        yield offered, next(iter(backends.values()))


@pytest.fixture
def descriptors(tmp_path: Path) -> Path:
    """Write the factory's descriptors to a file."""
    path = tmp_path / "factory.binpb"
    write(path, factory.descriptor_set())
    return path


def write(path: Path, files: FileDescriptorSet) -> None:
    """Write descriptors as protoc does."""
    path.write_bytes(files.SerializeToString())


async def test_long_running_methods_are_offered_and_nothing_else(descriptors: Path) -> None:
    """The offers are sorted by name, and each has its method, backends, types and hints."""
    async with catalog(descriptors) as (offered, backend):
        offers = await offered.offers()
        assert list(offers) == LONG_RUNNING
        method = next(
            m for m in backend.registry.types.methods_of(factory.SERVICE) if m.name == "Overhaul"
        )
        assert offers["overhaul"] == Offer(
            "overhaul",
            method,
            ("b",),
            backend.registry.types,
            Hints(reads=False, destroys=None, idempotent=False),
        )


async def test_included_plain_methods_are_offered_and_excluded_methods_are_not(
    descriptors: Path,
) -> None:
    """The patterns match Service/Method, and an excluded method is not offered in any case."""
    rules = OfferRules(
        include=("factory.v1.Factory/*",),
        exclude=("*/Delete*", "*/Overhaul"),
        confirm=("*/Update*",),
        hints={"*/Build*": {"destructive": True}, "*/BuildMachine": {"idempotent": True}},
    )
    async with catalog(descriptors, {"b": rules}) as (offered, _):
        offers = await offered.offers()
        assert list(offers) == ["build_machine", "get_machine", "update_machine"]
        assert [offer.confirm for offer in offers.values()] == [(), (), ("b",)]
        assert offers["build_machine"].hints == Hints(reads=False, destroys=True, idempotent=True)


async def test_streaming_methods_are_listed_unless_excluded(descriptors: Path) -> None:
    """They cannot be offered, so an operator who does not exclude one is shown it."""
    rules = {"b": OfferRules(include=("*",)), "c": OfferRules(exclude=("*/Watch*",))}
    async with catalog(descriptors, rules) as (offered, _):
        discovered = await offered.discovered()
    assert {name: found.streaming for name, found in discovered.items()} == {
        "b": ("factory.v1.Factory/WatchMachines",),
        "c": (),
    }


async def test_the_same_method_of_several_backends_is_one_offer(descriptors: Path) -> None:
    """The offer names the backends that offer it, in the order of the configuration."""
    rules = {"z": OfferRules(), "a": OfferRules(exclude=("*/Overhaul",))}
    async with catalog(descriptors, rules) as (offered, _):
        offers = await offered.offers()
        assert {name: offer.backends for name, offer in offers.items()} == {
            "build_machine": ("z", "a"),
            "delete_machine": ("z", "a"),
            "overhaul": ("z",),
            "update_machine": ("z", "a"),
        }


async def test_the_offers_change_only_with_the_descriptors(descriptors: Path) -> None:
    """Until then the same object is returned, so that a caller sees that nothing has changed."""
    async with catalog(descriptors) as (offered, backend):
        before = await offered.offers()
        assert await backend.registry.refresh() is False
        assert await offered.offers() is before
        fewer = copy.deepcopy(factory.descriptor_set())
        del fewer.file[-1].service[0].method[1:]
        write(descriptors, fewer)
        assert await backend.registry.refresh() is True
        assert list(await offered.offers()) == ["build_machine"]


async def test_what_was_found_so_far_is_told_only_until_all_is_known(descriptors: Path) -> None:
    """Then `offers` returns it at once. Each mapping has at least what those before it had."""
    async with catalog(descriptors) as (offered, _):
        told = [list(offers) async for offers in offered.offers_so_far()]
        assert told in ([], [LONG_RUNNING])
        assert list(await offered.offers()) == LONG_RUNNING
        assert [offers async for offers in offered.offers_so_far()] == []


class Faltering:
    """A source that fails at first, then hangs until `let_go` is set, then knows the factory."""

    label = "faltering"

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.let_go = asyncio.Event()
        self.calls = asyncio.Queue[str]()
        self._file = FileSource(path)

    def clock(self) -> float:
        return self.now

    async def find(self, symbol: str) -> Sequence[DescriptorFile]:
        return await self._file.find(symbol)

    async def find_file(self, name: str) -> Sequence[DescriptorFile]:
        return await self._file.find_file(name)

    async def find_extension(self, extended: str, number: int) -> Sequence[DescriptorFile]:
        return await self._file.find_extension(extended, number)

    def forget(self) -> None:
        self._file.forget()

    async def services(self) -> Sequence[str]:
        self.calls.put_nowait("services")
        if not self.now:
            raise SourceError("it fails")
        await self.let_go.wait()
        return await self._file.services()


async def test_a_backend_that_hangs_delays_no_list_after_its_first_discovery(
    descriptors: Path,
) -> None:
    """Later discoveries run in the background, unless the caller waits for all backends."""
    source = Faltering(descriptors)
    endpoint = Endpoint("b", "127.0.0.1:1")
    channel = open_channel(endpoint)
    registry = TypeRegistry("b", [source], clock=source.clock)
    backend = Backend(
        endpoint, channel, registry, public_name=GatewayName, public_parent=GatewayName
    )
    async with BackgroundTasks(timedelta(seconds=1)) as tasks:
        offered = Catalog({"b": backend}, {"b": OfferRules()}, RESERVED_NAMES, tasks)
        assert await offered.offers() == {}
        source.now += FAILED_FOR
        assert await offered.offers() == {}
        waiting = asyncio.create_task(offered.offers(wait_for_all=True))
        assert [await source.calls.get() for _ in range(2)] == ["services"] * 2
        assert await offered.offers() == {}
        source.let_go.set()
        assert list(await waiting) == LONG_RUNNING
        assert list(await offered.offers()) == LONG_RUNNING
        assert source.calls.empty()
    await channel.close(None)


async def test_a_method_of_several_backends_has_the_most_cautious_of_their_hints(
    descriptors: Path,
) -> None:
    """The hints of one backend must not make a method look harmless that another also offers.

    Each backend has its own rules for confirmation.
    """
    careless = {"*/DeleteMachine": {"read_only": True, "destructive": False, "idempotent": True}}
    rules = {
        "careless": OfferRules(hints=careless),
        "careful": OfferRules(confirm=("*/DeleteMachine",)),
    }
    async with catalog(descriptors, rules) as (offered, _):
        offer = (await offered.offers())["delete_machine"]
    assert offer.hints == Hints(reads=False, destroys=True, idempotent=True)
    assert (offer.backends, offer.confirm) == (("careless", "careful"), ("careful",))
