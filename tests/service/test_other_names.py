"""What the store and task ids have of operations that got another name.

A name begins with `//backend/` if another backend may have it too, so that a gateway which gets or
loses a backend gives its operations other names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.records.location import Location
from tests import factory
from tests.access.policed import claims
from tests.contrary import ContraryBackend, answering
from tests.mcp.wire import wire
from tests.postgresql import PostgreSql
from tests.service.approved import (
    AGENT,
    ANA,
    BUILD,
    EVE,
    RUNNING,
    Office,
    backend_of,
    opened,
    reason_of,
    settings,
)

NAMES = {True: "jobs/1", False: "//east/jobs/1"}
"""The name of the operation for a gateway that has one backend, and for one that has two."""


@asynccontextmanager
async def place_of(
    location: Location, backend: ContraryBackend, *, alone: bool, **more: Any
) -> AsyncIterator[Office]:
    """Open a gateway with the store that it has already, with one backend or with two."""
    config = settings(location, backend, **more)
    (own,) = config.backends
    other = own.model_copy(update={"name": "west", "target": "127.0.0.1:1"})
    backends = (own,) if alone else (own, other)
    async with opened(config.model_copy(update={"backends": backends})) as place:
        yield place


async def ask(place: Office, key: str) -> httpx.Response:
    """Ask for a machine on the first backend, with an idempotency key."""
    order = dict(factory.ORDER)
    return await place.call(AGENT, "POST", BUILD, order, key=key, backend="east")


@pytest.mark.parametrize("alone", [True, False])
async def test_an_approval_leads_to_its_operation_under_each_name(
    location: Location, *, alone: bool
) -> None:
    """The handle names the operation as it can be read now, to and fro."""
    async with backend_of() as backend:
        async with place_of(location, backend, alone=alone) as place:
            handle = (await ask(place, "k")).json()["name"]
            await place.decide(ANA, handle)
        for now in (not alone, alone):
            async with place_of(location, backend, alone=now) as place:
                assert (await place.get(AGENT, handle))["name"] == NAMES[now]
                listed = (await place.call(ANA, "GET", "/v1/approvals")).json()["approvals"]
                assert [each["operation"] for each in listed] == [NAMES[now]]
                assert (await ask(place, "k")).json()["name"] == NAMES[now]
        assert backend.count("BuildMachine") == 1


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("is_readable", [True, False])
async def test_an_idempotency_key_leads_to_its_operation_under_each_name(
    location: Location, *, alone: bool, is_readable: bool
) -> None:
    """Also if the operation cannot be read at that time, which leaves only its name."""
    handlers: Mapping[str, Any] = {"GetOperation": answering(RUNNING)} if is_readable else {}
    rules = [{"allow": ["start", *(["get"] if is_readable else [])]}]
    async with backend_of(**handlers) as backend:
        for now in (alone, not alone, alone):
            with_rules = {"approval": ["*/Other"], "rules": rules}
            async with place_of(location, backend, alone=now, **with_rules) as place:
                answer = await ask(place, "k")
                assert (answer.json()["name"], answer.json().get("done", False)) == (
                    NAMES[now],
                    False,
                )
        assert backend.count("BuildMachine") == 1


@pytest.mark.parametrize("alone", [True, False])
async def test_a_task_id_leads_to_its_operation_under_each_name(
    location: Location, *, alone: bool
) -> None:
    """The id was made before, and says which backend has the operation."""
    async with backend_of() as backend:
        task = ""
        for now in (alone, not alone, alone):
            async with (
                place_of(location, backend, alone=now, approval=["*/Other"]) as place,
                wire(f"{place.url}/mcp") as client,
            ):
                client.http.headers.update(claims(AGENT))
                if not task:
                    arguments = {**factory.ORDER, **({} if now else {"backend": "east"})}
                    made = await client("tools/call", name="build_machine", arguments=arguments)
                    task = made["taskId"]
                state = await client("tasks/get", taskId=task)
                assert state["status"] == "completed"
                assert state["result"]["structuredContent"]["name"] == NAMES[now]


async def test_the_log_names_a_backend_whose_operations_nobody_can_follow(
    location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    """A backend that got another name is another backend, and the start says what that leaves."""
    caplog.set_level("INFO", "lro_gateway")
    async with backend_of(GetOperation=answering(RUNNING)) as backend:
        config = settings(location, backend, approval=["*/Other"])
        async with opened(config) as place:
            await ask(place, "k")
        assert "that have not ended" not in caplog.text
        renamed = [each.model_copy(update={"name": "west"}) for each in config.backends]
        async with opened(config.model_copy(update={"backends": (*renamed,)})) as place:
            order = dict(factory.ORDER)
            again = await place.call(AGENT, "POST", BUILD, order, key="k")
            assert reason_of(again) == "IDEMPOTENCY_KEY_REUSED"
        assert "operations of backend 'east' that have not ended: 1;" in caplog.text
        assert backend.count("BuildMachine") == 1


@asynccontextmanager
async def named(
    location: Location, backend: ContraryBackend, name: str, *former: str, **more: Any
) -> AsyncIterator[Office]:
    """Open a gateway with the store that it has already, whose backend has this name."""
    config = settings(location, backend)
    names = {"name": name, "former_names": former, "visibility": "owner", **more}
    changed = [each.model_copy(update=names) for each in config.backends]
    async with opened(config.model_copy(update={"backends": (*changed,)})) as place:
        yield place


async def test_what_the_store_has_of_a_backend_follows_its_names(location: Location) -> None:
    """The list of the caller, its key, its approval and its task, also after a second change."""
    order = dict(factory.ORDER)
    async with backend_of() as backend:
        async with (
            named(location, backend, "east") as place,
            wire(f"{place.url}/mcp") as client,
        ):
            client.http.headers.update(claims(AGENT))
            handle = (await place.call(AGENT, "POST", BUILD, order, key="k")).json()["name"]
            called = await client("tools/call", name="build_machine", arguments=order)
            task = called["taskId"]
            await place.decide(ANA, handle)
            waits = (await place.call(AGENT, "POST", BUILD, order, key="l")).json()["name"]
        for former in ((), ("east",), ("east",), ("east", "west")):
            name = {0: "lost", 1: "west", 2: "north"}[len(former)]
            async with (
                named(location, backend, name, *former) as place,
                wire(f"{place.url}/mcp") as client,
            ):
                client.http.headers.update(claims(AGENT))
                mine = (await place.call(AGENT, "GET", "/v1/operations:mine")).json()
                again = await place.call(AGENT, "POST", BUILD, order, key="k")
                if not former:
                    assert (mine["operations"][0]["backend"], reason_of(again)) == (
                        "east",
                        "IDEMPOTENCY_KEY_REUSED",
                    )
                    continue
                assert {each["backend"] for each in mine["operations"]} == {name}
                assert again.json()["name"] == "jobs/1"
                assert (await client("tasks/get", taskId=task))["status"] == "input_required"
                for full in ("jobs/1", f"//{name}/jobs/1", "//east/jobs/1"):
                    read = await place.call(AGENT, "GET", f"/v1/{full}")
                    assert read.json()["name"] == "jobs/1"
                    hidden = await place.call(EVE, "GET", f"/v1/{full}")
                    assert reason_of(hidden) == "NO_SUCH_OPERATION"
        async with named(location, backend, "north", "east", "west") as place:
            await place.decide(ANA, waits)
            assert (await place.get(AGENT, waits))["name"] == "jobs/1"
        assert backend.count("BuildMachine") == 2


async def test_a_backend_gets_no_new_name_while_other_replicas_run(server: PostgreSql) -> None:
    """In a rolling upgrade, the older ones would show everybody what they no longer find."""
    location = Location.parse(server.create_database())
    refused = "backend 'west' was 'east' before, and 1 other processes that use this store run"
    free: Any = {"approval": ()}
    async with backend_of() as backend:
        async with named(location, backend, "east", **free) as place:
            name = (await place.call(AGENT, "POST", BUILD, dict(factory.ORDER))).json()["name"]
            with pytest.raises(ConfigError, match=refused):
                async with named(location, backend, "west", "east", **free):
                    pass
            assert (await place.get(AGENT, name))["name"] == name
            hidden = await place.call(EVE, "GET", f"/v1/{name}")
            assert reason_of(hidden) == "NO_SUCH_OPERATION"
        async with (
            named(location, backend, "west", "east", **free) as place,
            named(location, backend, "west", "east", **free) as other,
        ):
            for each in (place, other):
                assert (await each.get(AGENT, name))["name"] == name
                hidden = await each.call(EVE, "GET", f"/v1/{name}")
                assert reason_of(hidden) == "NO_SUCH_OPERATION"


@pytest.mark.parametrize("former", [["east"], ["old", "old"]])
def test_a_former_name_of_two_backends_is_refused(former: list[str]) -> None:
    """It could lead to either of them."""
    own = {"name": "east", "target": "127.0.0.1:1"}
    other = {"name": "west", "target": "127.0.0.1:1", "former_names": former}
    with pytest.raises(ValueError, match="is the name, or a former name, of a backend already"):
        GatewayConfig.model_validate({"backends": [own, other]})
