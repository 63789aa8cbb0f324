"""What the store has of operations whose names other patterns have translated before."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.records.location import Location
from tests import factory
from tests.access.policed import claims
from tests.contrary import ContraryBackend, answering
from tests.deliveries.receiver import answering as receiving_with
from tests.deliveries.receiver import receiving
from tests.mcp.wire import wire
from tests.postgresql import PostgreSql
from tests.service.approved import (
    AGENT,
    BUILD,
    DONE,
    EVE,
    RUNNING,
    Office,
    backend_of,
    opened,
    reason_of,
    settings,
)

MINE = "/v1/operations:mine"
NONE: dict[str, str] = {}
OLD = {"jobs/{id}": "tenants/a/{id}"}
NEW = {"jobs/{id}": "customers/a/{id}"}
CHANGES: list[tuple[Any, Any, Any, str, str]] = [
    (OLD, NEW, OLD, "tenants/a/1", "customers/a/1"),
    (["jobs/*"], NEW, ["jobs/*"], "jobs/1", "customers/a/1"),
    (NONE, NEW, ["jobs/*"], "jobs/1", "customers/a/1"),
    (OLD, NONE, OLD, "tenants/a/1", "jobs/1"),
    (OLD, ["jobs/*"], OLD, "tenants/a/1", "jobs/1"),
]
"""The patterns before, those after, the former ones, and the names of the operation."""


@asynccontextmanager
async def placed(
    location: Location, backend: ContraryBackend, operations: Any, former: Any = ()
) -> AsyncIterator[Office]:
    """Open a gateway with the store that it has already, whose backend has these patterns."""
    patterns = {"operations": operations, "former_operations": former}
    config = settings(location, backend, approval=[], **patterns)
    changed = [each.model_copy(update={"visibility": "owner"}) for each in config.backends]
    async with opened(config.model_copy(update={"backends": (*changed,)})) as place:
        yield place


async def start(place: Office, key: str = "k") -> str:
    """Start the operation, and return its name."""
    answer = await place.call(AGENT, "POST", BUILD, dict(factory.ORDER), key=key)
    return str(answer.json()["name"])


@pytest.mark.parametrize(("before", "after", "former", "old", "new"), CHANGES)
async def test_former_patterns_let_the_store_and_callers_find_everything_again(
    location: Location, before: Any, after: Any, former: Any, old: str, new: str
) -> None:
    """The owner, the list of the caller, the key, the task, the old name and the new one."""
    async with backend_of() as backend:
        async with (
            placed(location, backend, before) as place,
            wire(f"{place.url}/mcp") as client,
        ):
            client.http.headers.update(claims(AGENT))
            assert await start(place) == old
            made = await client("tools/call", name="build_machine", arguments=dict(factory.ORDER))
        for _ in range(2):
            async with (
                placed(location, backend, after, former) as place,
                wire(f"{place.url}/mcp") as client,
            ):
                client.http.headers.update(claims(AGENT))
                mine = (await place.call(AGENT, "GET", MINE)).json()["operations"]
                assert {each["name"] for each in mine} == {new}
                assert await start(place) == new
                task = await client("tasks/get", taskId=made["taskId"])
                assert task["result"]["structuredContent"]["name"] == new
                for name in (old, new, "//east/jobs/1"):
                    assert (await place.get(AGENT, name))["name"] == new
                    hidden = await place.call(EVE, "GET", f"/v1/{name}")
                    assert reason_of(hidden) == "NO_SUCH_OPERATION"
        assert backend.count("BuildMachine") == 2


async def test_a_webhook_and_a_tracker_go_on_under_the_present_name(location: Location) -> None:
    """The event tells the present name, and comes once."""
    ended = answering(RUNNING)

    async def get(request: Any, context: Any) -> Any:
        return await ended(request, context)

    async with (
        receiving(receiving_with(200)) as receiver,
        backend_of(GetOperation=get) as backend,
    ):
        async with delivering(location, backend, OLD) as place:
            name = await start(place)
            body = {"url": receiver.url, "events": ["operation.done"]}
            made = await place.call(AGENT, "POST", f"/v1/{name}:notify", body)
            assert made.is_success, made.text
        ended = answering(DONE)
        async with delivering(location, backend, NEW, OLD):
            (received,) = await receiver.after(1)
    assert b'"customers/a/1"' in received.body


@asynccontextmanager
async def delivering(
    location: Location, backend: ContraryBackend, operations: Any, former: Any = ()
) -> AsyncIterator[Office]:
    """Open such a gateway whose webhooks may go to this machine."""
    patterns = {"operations": operations, "former_operations": former}
    config = settings(location, backend, approval=[], **patterns)
    allowed = {"allow_http": True, "allow_anonymous": True, "allowed_addresses": ("127.0.0.1",)}
    deliveries = type(config.deliveries).model_validate(allowed)
    async with opened(config.model_copy(update={"deliveries": deliveries})) as place:
        yield place


@pytest.mark.parametrize(("before", "after"), [(OLD, NEW), (NONE, NEW), (OLD, ["jobs/*"])])
async def test_the_log_tells_how_many_operations_no_pattern_finds(
    location: Location, caplog: pytest.LogCaptureFixture, before: Any, after: Any
) -> None:
    """And what to do, unless that was done."""
    caplog.set_level(logging.INFO, "lro_gateway.service.stored_names")
    lost = "operations of backend 'east' that have not ended and whose names none of its"
    async with backend_of(GetOperation=answering(RUNNING)) as backend:
        for operations in (before, before):
            async with placed(location, backend, operations) as place:
                await start(place)
        assert caplog.text == ""
        async with placed(location, backend, after):
            pass
        assert f"{lost} operations patterns has: 1; if other patterns" in caplog.text


async def test_names_do_not_change_while_other_replicas_run(server: PostgreSql) -> None:
    """The others would show everybody what they no longer find."""
    location = Location.parse(server.create_database())
    refused = "the names of operations of backend 'east' have changed, and 1 other processes"
    async with backend_of() as backend:
        async with placed(location, backend, OLD) as place:
            name = await start(place)
            with pytest.raises(ConfigError, match=refused):
                async with placed(location, backend, NEW, OLD):
                    pass
            hidden = await place.call(EVE, "GET", f"/v1/{name}")
            assert reason_of(hidden) == "NO_SUCH_OPERATION"
        async with (
            placed(location, backend, NEW, OLD) as place,
            placed(location, backend, NEW, OLD) as other,
        ):
            for each in (place, other):
                assert (await each.get(AGENT, name))["name"] == "customers/a/1"


async def test_a_former_pattern_whose_names_may_be_present_ones_is_refused() -> None:
    """Nobody could tell what such a name meant before."""
    backend = {"name": "b", "target": "h:1", "operations": NEW}
    for former in (["customers/**"], NEW):
        with pytest.raises(ValueError, match="so nobody can tell what it meant before"):
            GatewayConfig.model_validate({"backends": [{**backend, "former_operations": former}]})
