"""The bounds of connections in all and by address, in front of a real process."""

from __future__ import annotations

from pathlib import Path

import pytest

from lro_gateway.config.limits import LimitsConfig
from lro_gateway.serving.client_trust import Withdrawn
from lro_gateway.serving.connections import Connections, Swept
from tests.serving.wires import LIVEZ, OPENAPI, Wire, exchange, limited


@pytest.mark.parametrize(
    ("setting", "status"),
    [("max_connections", 503), ("max_connections_per_address", 429)],
)
async def test_connections_beyond_the_bound_get_one_refusal_or_a_probe(
    tmp_path: Path, setting: str, status: int
) -> None:
    """A connection that ends makes room for another."""
    limits: dict[str, int | str] = {"idle_timeout": "300s", setting: 2}
    async with limited(tmp_path, **limits) as gateway:
        held = [await Wire.open(gateway, LIVEZ) for _ in range(2)]
        for wire in held:
            assert (await wire.answer())[0] == 200
        refused = await Wire.open(gateway, OPENAPI)
        found, reason, metadata = await refused.refusal()
        assert (found, reason) == (status, "TOO_MANY_CONNECTIONS")
        assert metadata == {"limit": "2", "setting": f"limits.{setting}"}
        assert await refused.end() == b""
        probe = await Wire.open(gateway, LIVEZ)
        assert await probe.answer() == (200, {"status": "ok"})
        assert await probe.end() == b""
        await gateway.logged("its maximum of 2 connections" if status == 503 else "address has")
        held[0].close()
        held[0] = await Wire.open(gateway, OPENAPI)
        assert (await held[0].answer())[0] in {200, status}
        for wire in held:
            wire.close()


async def test_a_refused_connection_without_a_request_ends_soon(tmp_path: Path) -> None:
    """It gets the refusal, although it asked for nothing."""
    async with limited(tmp_path, max_connections=1, idle_timeout="300s") as gateway:
        held = await Wire.open(gateway, LIVEZ)
        await held.answer()
        silent = await Wire.open(gateway)
        assert (await silent.refusal())[:2] == (503, "TOO_MANY_CONNECTIONS")
        assert await silent.end() == b""
        assert (await exchange(gateway, LIVEZ))[0] == 200
        held.close()


class Still(Swept):
    """A connection that only counts."""

    ended = False

    def check_time(self, now: float) -> None:
        del now

    def end_refused(self) -> None:
        self.ended = True

    def distrust(self, withdrawn: Withdrawn) -> None:
        self.ended = withdrawn(b"")


def test_an_address_is_forgotten_when_its_last_connection_ends() -> None:
    """So the memory does not grow with the number of addresses."""
    connections = Connections(LimitsConfig(max_connections_per_address=1))
    one, two = Still(), Still()
    connections.add(one, "2001:db8::1", refused=False)
    assert connections.refusal("2001:db8::2", 0) is not None
    assert connections.refusal("2001:db8:0:1::2", 0) is None
    connections.add(two, "10.0.0.1", refused=False)
    for connection, host in ((one, "2001:db8::1"), (two, "10.0.0.1")):
        connections.remove(connection, host, refused=False)
    assert connections.refusal("2001:db8::2", 0) is None
    assert not connections.counted


def test_the_oldest_refused_connection_makes_room_for_others() -> None:
    """A client that holds refused connections keeps nobody out."""
    connections = Connections(LimitsConfig())
    refused = [Still() for _ in range(40)]
    for each in refused:
        connections.add(each, "10.0.0.1", refused=True)
    assert [each.ended for each in refused] == [True] * 8 + [False] * 32
