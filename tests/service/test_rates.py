"""The rates of callers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from lro_gateway.access.policy import Verb
from lro_gateway.config.limits import RatesConfig
from lro_gateway.errors import StatusError
from lro_gateway.principal import Principal
from lro_gateway.records.database import Database
from lro_gateway.records.location import Location
from lro_gateway.records.opening import open_store
from lro_gateway.records.rates import SqlRates, expiring
from lro_gateway.records.sweeper import Sweeper
from lro_gateway.service.rates import Rates
from tests import factory
from tests.access.guarded import ALICE, BOB, Recording, guarded, mcp, rest
from tests.contrary import Answer, ContraryBackend, Handler, answering
from tests.postgresql import PostgreSql

STARTED = operations_pb2.Operation(name="jobs/started")


async def running(request: Any, _context: Any) -> Answer:
    """Answer that the operation runs, whatever its name is."""
    answer: Answer = operations_pb2.Operation(name=request.name)
    return answer


@asynccontextmanager
async def rated(**rates: str) -> AsyncIterator[tuple[str, ContraryBackend]]:
    """Serve a gateway with these rates; yields its URL and its backend."""
    handlers = {
        "GetOperation": running,
        "WaitOperation": running,
        "ListOperations": answering(operations_pb2.ListOperationsResponse()),
        "CancelOperation": answering(Empty()),
        "DeleteOperation": answering(Empty()),
    }
    async with (
        asyncio.timeout(60),
        ContraryBackend.open(handlers) as backend,
        guarded(
            Recording(),
            {"name": "b", "target": backend.target, "descriptors": []},
            limits={"rates": rates},
        ) as url,
    ):
        yield url, backend


def details(answer: httpx.Response) -> dict[str, Mapping[str, Any]]:
    """Return the details of an error by the names of their types."""
    found = answer.json()["error"]["details"]
    return {each["@type"].rpartition(".")[2]: each for each in found}


@pytest.mark.parametrize(
    ("verb", "method", "path"),
    [
        ("cancel", "POST", "/v1/jobs/{}:cancel"),
        ("delete", "DELETE", "/v1/jobs/{}"),
        ("list", "GET", "/v1/operations"),
        ("get", "GET", "/v1/jobs/{}"),
    ],
)
async def test_a_caller_over_its_rate_is_told_when_to_call_again(
    verb: str, method: str, path: str
) -> None:
    """The backend gets no call. Another caller and the other verbs are not concerned."""
    async with rated(**{verb: "2/1h"}) as (url, backend), rest(url) as alice, rest(url, BOB) as bob:
        for number in range(2):
            assert (await alice.request(method, path.format(number))).status_code == 200
        calls = len(backend.answered)
        refused = await alice.request(method, path.format(2))
        assert len(backend.answered) == calls
        assert refused.status_code == 429
        assert refused.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
        found = details(refused)
        seconds = int(refused.headers["retry-after"])
        assert 1700 < seconds <= 1800
        assert found["RetryInfo"]["retryDelay"] == f"{seconds}s"
        assert found["ErrorInfo"]["reason"] == "RATE_EXCEEDED"
        assert found["ErrorInfo"]["metadata"] == {
            "verb": verb,
            "limit": "2/1h",
            "setting": f"limits.rates.{verb}",
            "retryAfter": f"{seconds}s",
        }
        (violation,) = found["QuotaFailure"]["violations"]
        assert violation["subject"] == "caller:test#alice"
        assert violation["quotaId"] == f"limits.rates.{verb}"
        assert (await bob.request(method, path.format(2))).status_code == 200
        others = {"cancel": "/v1/jobs/9", "delete": "/v1/jobs/9", "list": "/v1/jobs/9"}
        assert (await alice.get(others.get(verb, "/v1/operations"))).status_code == 200


async def test_polls_of_one_operation_cost_nothing() -> None:
    """Many names cost. Reads, waits and watches of a known name do not, nor does any wait."""
    async with rated(get="2/1h") as (url, _), rest(url) as client:
        for _ in range(5):
            assert (await client.get("/v1/jobs/1")).status_code == 200
            assert (await client.get("/v1/jobs/2")).status_code == 200
        assert (await client.get("/v1/jobs/3")).status_code == 429
        assert (await client.get("/v1/jobs/1")).status_code == 200
        assert (await client.get("/v1/%2F%2Fb/jobs/1")).status_code == 200
        waited = await client.post("/v1/jobs/4:wait", json={"timeout": "0.01s"})
        assert waited.status_code == 200
        async with client.stream("GET", "/v1/jobs/5:watch") as watch:
            assert watch.status_code == 200


async def test_a_rate_lets_calls_pass_again_with_time() -> None:
    """The tokens come back one by one."""
    async with rated(cancel="1/50ms") as (url, _), rest(url) as client:
        statuses: list[int] = []
        while statuses.count(200) < 3:
            statuses.append((await client.post("/v1/jobs/1:cancel")).status_code)
        assert set(statuses) <= {200, 429}


async def test_over_mcp_a_rate_is_an_error_with_a_next_step() -> None:
    """The tool's error tells a model when to call again, and so does the error of a resource."""
    async with rated(cancel="1/1h", get="1/1h") as (url, _), mcp(url) as agent:
        target = {"name": "jobs/1", "backend": "b"}
        assert not (await agent.call_tool("cancel_operation", target)).is_error
        refused = await agent.call_tool("cancel_operation", target)
        assert refused.is_error
        told = r"The gateway has not made the call\. Call again in 3[56]\d\ds\."
        assert re.search(told, str(refused.content))
        assert not (await agent.call_tool("get_operation", target)).is_error
        with pytest.raises(Exception, match=r"call again in 3[56]\d\d s"):
            await agent.read_resource("operation://b/jobs/2")


METHODS: dict[str, Handler] = {
    f"{factory.SERVICE}/BuildMachine": answering(STARTED),
    f"{factory.SERVICE}/GetMachine": answering(factory.message("Machine", title="t")),
}


async def test_a_call_that_its_rate_refuses_is_not_made() -> None:
    """A start that waits for a person's agreement costs nothing, and its operation may be read."""
    async with (
        asyncio.timeout(60),
        ContraryBackend.open(
            {"GetOperation": running},
            methods=METHODS,
            pool=factory.pool(),
            reflection_versions=("v1",),
        ) as backend,
        guarded(
            Recording(),
            {
                "name": "b",
                "target": backend.target,
                "methods": ["*"],
                "confirm": ["*/BuildMachine"],
            },
            limits={"rates": {"start": "1/1h", "call": "1/1h", "get": "1/1h"}},
        ) as url,
        rest(url, ALICE) as client,
    ):
        build, agreed = "/v1/machines:build", {"lro-gateway-confirmed": "true"}
        body = {"parent": "lines/1", "machine": {"title": "t"}}
        assert (await client.post(build, json=body)).status_code == 400
        assert (await client.post(build, json=body, headers=agreed)).status_code == 200
        assert (await client.get("/v1/jobs/other")).status_code == 200
        assert (await client.get("/v1/jobs/started")).status_code == 200
        refused = await client.post(build, json=body, headers=agreed)
        assert (refused.status_code, backend.count("BuildMachine")) == (429, 1)
        assert details(refused)["ErrorInfo"]["metadata"]["setting"] == "limits.rates.start"
        assert (await client.get("/v1/lines/1/machines/2")).status_code == 200
        assert (await client.get("/v1/lines/1/machines/3")).status_code == 429


def test_every_verb_has_a_rate_or_takes_turns() -> None:
    """A new verb needs a setting. Polls of waits take turns, and an explanation asks no backend."""
    without = {Verb.WAIT, Verb.EXPLAIN}
    assert {Verb(name) for name in RatesConfig.model_fields} == set(Verb) - without


CANCELS = RatesConfig.model_validate({"cancel": "4/1h"}).by_verb


async def spent(*rates: Rates, caller: Principal = ALICE, calls: int = 6) -> int:
    """Return how many of so many calls at each process pass, all at once."""
    made = [each.spend(caller, Verb.CANCEL) for each in rates for _ in range(calls)]
    return (await asyncio.gather(*made, return_exceptions=True)).count(None)


async def test_replicas_share_a_rate(server: PostgreSql) -> None:
    """However the calls of a caller spread, it has one rate. Without the store each has its own."""
    location = Location.parse(server.create_database())
    async with open_store(location) as one, open_store(location) as other:
        rates = [Rates(CANCELS, each.rates) for each in (one, other)]
        assert await spent(*rates) == 4
        assert await spent(*rates, caller=BOB, calls=2) == 4
        # A process that begins anew knows what the others have counted.
        fresh = Rates(CANCELS, one.rates)
        with pytest.raises(StatusError) as refused:
            await fresh.spend(ALICE, Verb.CANCEL)
        assert refused.value.reason == "RATE_EXCEEDED"
        assert refused.value.info is not None
        assert 800 < int(refused.value.info.metadata["retryAfter"].removesuffix("s")) <= 900
        assert await spent(Rates(CANCELS), Rates(CANCELS)) == 8


async def test_a_store_that_is_away_stops_no_call() -> None:
    """The process counts on its own meanwhile, and waits only for the first answer."""
    database = Database(Location.parse("postgresql://gateway@/store?host=/nowhere"))
    try:
        assert await spent(Rates(CANCELS, SqlRates(database))) == 4
    finally:
        await database.close()


async def test_a_full_bucket_expires(server: PostgreSql) -> None:
    """Nobody needs its row."""
    location = Location.parse(server.create_database())
    async with open_store(location) as store:
        await store.rates.spend("soon", 1000, 0.001)
        await store.rates.spend("late", 1, 3600.0)
        database = Database(location)
        swept = await Sweeper(database, expiring()).sweep()
        await database.close()
        assert swept == 1
