"""Operations that do not change any more, as agents and monitors learn of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from lro_gateway.commands.terminal.rows import Row
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.operations.elapsed import stalled
from lro_gateway.operations.stall import Expected, Stall
from lro_gateway.records.database import Database
from lro_gateway.records.entries import now
from lro_gateway.records.history import SqlHistory
from lro_gateway.records.journal import SqlJournal
from lro_gateway.records.location import Location
from lro_gateway.records.schema import OPERATIONS
from lro_gateway.service.stalls import learned
from lro_gateway.serving.http import serve_http
from tests import factory
from tests.access.guarded import HEADER, ByHeader
from tests.mcp.wire import Wire
from tests.stub import Stub

METHOD: Final = factory.method("BuildMachine").path
ALICE: Final = {HEADER: "alice"}
WORK: Final = "/healthz/operations"


@dataclass
class Stage:
    """A gateway that identifies callers and has a store."""

    gateway: Gateway
    http: httpx.AsyncClient
    mcp: Wire

    async def start(self) -> str:
        answer = await self.http.post(f"/v1/{METHOD}", json=factory.ORDER, headers=ALICE)
        return str(answer.json()["name"])

    async def text(self, tool: str, **arguments: Any) -> str:
        """Return the text of a tool, after the journal has written what was seen before."""
        await self.flush()
        answer = await self.mcp("tools/call", headers=ALICE, name=tool, arguments=arguments)
        return str(answer["content"][1]["text"])

    async def flush(self) -> None:
        journal = self.gateway.service.archiving.journal
        assert isinstance(journal, SqlJournal)
        await journal.flush()

    async def healthy(self, **headers: str) -> tuple[int, Any]:
        """Return the status and the reasons after a new examination."""
        await self.flush()
        assert self.gateway.work_health is not None
        await self.gateway.work_health.examine()
        answer = await self.http.get(WORK, headers=headers)
        return answer.status_code, answer.json()["reasons"]


@asynccontextmanager
async def staged(location: Location, target: str, **settings: Any) -> AsyncIterator[Stage]:
    """Open a stage."""
    backend = {"name": "factory", "target": target, "freshness": "0s", **settings}
    config = GatewayConfig.model_validate(
        {
            "server": {"port": 0, "sync_grace": "0s"},
            "store": {"url": location},
            "backends": [backend],
        }
    )
    async with (
        Gateway.open(config, authenticator=ByHeader()) as gateway,
        serve_http(gateway) as server,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        yield Stage(gateway, http, Wire(http, f"{server.url}/mcp", capabilities={}))


async def rewrite(location: Location, **values: Any) -> None:
    """Set columns of all operations."""
    database = Database(location)
    statement = OPERATIONS.update().values(**values)
    await database.write(lambda connection: connection.execute(statement).close())
    await database.close()


async def test_an_operation_that_does_not_change_is_told_from_one_that_runs(
    location: Location,
) -> None:
    """An agent, the command line and a monitor learn of it, until the metadata change."""
    stub = Stub(factory.pool(), reads=99)
    expected = {"expected_times": {"*/BuildMachine": "3m"}}
    async with stub.open(factory.SERVICE) as backend:
        async with staged(location, backend.target, **expected) as stage:
            name = await stage.start()
            assert "No change" not in await stage.text("get_operation", name=name)
            assert await stage.healthy() == (200, [])
        await rewrite(location, changed=now() - dt.timedelta(minutes=20))
        async with staged(location, backend.target, **expected) as stage:
            await stage.text("get_operation", name=name)
            told = "No change for 20 min; this method should take 3 min."
            assert told in await stage.text("get_operation", name=name)
            assert told in await stage.text("wait_operation", name=name, timeout="0s")
            assert f"{name}: {told}" in await stage.text("list_operations")
            shown = await stage.http.get(f"/v1/{name}?summary=true", headers=ALICE)
            assert shown.json()["summary"]["expectedTime"] == "180s"
            row = Row.of(shown.json())
            assert row.text.startswith(told)
            assert (row.state, row.shown_state) == ("running", "stalled")
            status, (reason,) = await stage.healthy(**ALICE)
            assert (status, reason["method"], reason["count"]) == (503, METHOD, 1)
            assert await stage.healthy() == (503, [{"reason": "OPERATIONS_STALLED", "count": 1}])
            metrics = (await stage.http.get("/metrics", headers=ALICE)).text
            labels = f'backend="factory",method="{METHOD}"'
            assert f"lro_gateway_operations_stalled{{{labels}}} 1.0" in metrics
            stub.operations[name].metadata.Pack(factory.message("Machine", title="moved"))
            assert "No change" not in await stage.text("get_operation", name=name)
            assert "No change" not in await stage.text("get_operation", name=name)


async def test_a_monitor_learns_of_a_stall_as_soon_as_a_reader_does(location: Location) -> None:
    """Also of a method that takes seconds, although an unchanged row is seldom written."""
    stub = Stub(factory.pool(), reads=10**9)
    quick = {"expected_times": {"*/BuildMachine": "1s"}}
    async with (
        stub.open(factory.SERVICE) as backend,
        staged(location, backend.target, **quick) as stage,
    ):
        name, told = await stage.start(), ""
        while "No change for" not in told:
            told = await stage.text("get_operation", name=name)
            await stage.flush()
        assert (await stage.healthy(**ALICE))[0] == 503


async def test_a_change_of_the_metadata_is_written(location: Location) -> None:
    """Another process then knows of it, although the state and the percentage are the same."""
    stub = Stub(factory.pool(), reads=99)
    async with stub.open(factory.SERVICE) as backend, staged(location, backend.target) as stage:
        name = await stage.start()
        await stage.text("get_operation", name=name)
        stub.operations[name].metadata.Pack(factory.message("Machine", title="moved"))
        await stage.text("get_operation", name=name)
        await stage.flush()
        journal = stage.gateway.service.archiving.journal
        assert isinstance(journal, SqlJournal)
        operation = await stage.gateway.service.reads.get(
            stage.gateway.service.backends["factory"], _backend_name(name)
        )
        unchanged = journal.unchanged(operation)
        assert unchanged is not None
        assert not journal.has_moved(operation)
        (entry,) = (await stage.http.get("/v1/operations:mine", headers=ALICE)).json()["operations"]
        assert unchanged.since > dt.datetime.fromisoformat(entry["startTime"]).timestamp()


def _backend_name(name: str) -> Any:
    return name


async def test_a_method_takes_what_it_has_taken(location: Location) -> None:
    """With ten samples the gateway knows it. An operation of an unknown method never stalls."""
    stub = Stub(factory.pool())
    async with stub.open(factory.SERVICE) as backend:
        async with staged(location, backend.target) as stage:
            for _ in range(10):
                await stage.start()
        ended = now()
        await rewrite(location, started=ended - dt.timedelta(minutes=5), finished=ended)
        stub.reads = 99
        async with staged(location, backend.target) as stage:
            name = await stage.start()
            assert stage.gateway.work_health is not None
            await stage.gateway.work_health.examine()
            expected = stage.gateway.work_health.stalls.expected("factory", METHOD)
            assert expected == Expected(300.0, learned=True)
            assert stage.gateway.work_health.stalls.expected("factory", "acme.v1/Other") is None
            assert "Running" in await stage.text("get_operation", name=name)
    database = Database(location)
    history = SqlHistory(database)
    assert list(await history.durations("factory", METHOD, 3)) == [300.0] * 3
    assert [each.method for each in await history.running(ended)] == [METHOD]
    assert await history.running(now() + dt.timedelta(hours=1)) == []
    await database.close()


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([100.0] * 9, None),
        ([*range(100, 200)], Expected(194.0, learned=True)),
        ([0.1] * 50, Expected(60.0, learned=True)),
    ],
)
def test_the_95th_percentile_of_enough_samples_is_expected(
    durations: list[float], expected: Expected | None
) -> None:
    """The gateway polls seconds apart, so no learned time is shorter than a minute."""
    assert learned(durations) == expected


def test_the_text_says_where_the_time_comes_from() -> None:
    """A learned time is usual, and a configured one is what should be."""
    assert stalled(Stall(1250, Expected(180, learned=True))) == (
        "No change for 20 min; this method usually takes 3 min."
    )
    assert stalled(Stall(7300, Expected(3600))) == (
        "No change for 2 h; this method should take 1 h."
    )
