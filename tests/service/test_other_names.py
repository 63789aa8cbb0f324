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

from lro_gateway.records.location import Location
from tests import factory
from tests.access.policed import claims
from tests.contrary import ContraryBackend, answering
from tests.mcp.wire import wire
from tests.service.approved import (
    AGENT,
    ANA,
    BUILD,
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
    caplog.set_level("INFO", "lro_gateway.gateway")
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
