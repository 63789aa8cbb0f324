"""Calls that wait for an approval: who sees them, who may decide, and what survives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lro_gateway.records.location import Location
from tests.service.approved import (
    AGENT,
    ANA,
    BEN,
    BUILD,
    EVE,
    audited,
    backend_of,
    office,
    opened,
    reason_of,
    settings,
)


async def test_a_refused_call_is_never_made(location: Location) -> None:
    """The caller that asked learns who has refused it, and why."""
    async with backend_of() as backend, office(location, backend) as place:
        name = (await place.ask())["name"]
        await place.decide(ANA, name, "refuse", reason="not today")
        ended = await place.get(AGENT, name)
        assert (ended["done"], ended["error"]["code"]) == (True, 7)
        assert ended["error"]["message"] == (
            'It was refused by https://id#ana@data: "not today". It was not called.'
        )
        assert await place.decide(BEN, name) == "APPROVAL_DECIDED"
        assert backend.count("BuildMachine") == 0


async def test_nobody_approves_its_own_call(tmp_path: Path) -> None:
    """Unless the configuration allows it, and the policy too."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        own = (await place.ask(ANA))["name"]
        assert await place.decide(ANA, own) == "OWN_APPROVAL"
        assert await place.decide(ANA, own, "refuse") == "OWN_APPROVAL"
        assert await place.decide(AGENT, (await place.ask())["name"]) == "OWN_APPROVAL"
        assert backend.count("BuildMachine") == 0
    async with backend_of() as backend, office(tmp_path, backend, self_approval=True) as place:
        name = (await place.ask(ANA))["name"]
        assert (await place.decide(ANA, name))["metadata"]["state"] == "STARTED"
        assert await place.decide(AGENT, (await place.ask())["name"]) == "POLICY_DENIED"


async def test_for_everybody_else_there_is_no_such_call(tmp_path: Path) -> None:
    """In the words of a call that there never was, with every verb, and in no list."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        name = (await place.ask(title="Secret"))["name"]
        absent = f"approvals/{'0' * 31}1"
        for verb, suffix in [
            *(("GET", ""), ("DELETE", ""), ("POST", ":cancel"), ("POST", ":wait")),
            *(("POST", ":approve"), ("POST", ":refuse"), ("GET", ":watch")),
        ]:
            found, missing = [
                await place.call(EVE, verb, f"/v1/{each}{suffix}") for each in (name, absent)
            ]
            assert (found.status_code, found.text) == (404, missing.text.replace(absent, name))
        assert (await place.call(EVE, "GET", "/v1/approvals")).json() == {"approvals": []}
        assert (await place.get(AGENT, name))["metadata"]["state"] == "PENDING"


@pytest.mark.parametrize("visibility", ["all", "tenant", "owner"])
async def test_another_tenant_approves_only_what_everybody_sees(
    tmp_path: Path, visibility: str
) -> None:
    """On a backend of tenants, a call exists for no approver of another one, before its start."""
    async with backend_of() as backend:
        config = settings(Location(tmp_path / "store.sqlite3"), backend)
        bound = [each.model_copy(update={"visibility": visibility}) for each in config.backends]
        async with opened(config.model_copy(update={"backends": (*bound,)})) as place:
            name = (await place.ask())["name"]
            absent = f"approvals/{'0' * 31}1"
            stranger = replace(BEN, tenant="web")
            for verb, suffix in [
                *(("GET", ""), ("DELETE", ""), ("POST", ":cancel"), ("POST", ":wait")),
                *(("POST", ":approve"), ("POST", ":refuse"), ("GET", ":watch")),
            ]:
                if visibility == "all":
                    break
                found, missing = [
                    await place.call(stranger, verb, f"/v1/{each}{suffix}")
                    for each in (name, absent)
                ]
                assert (found.status_code, found.text) == (404, missing.text.replace(absent, name))
            listed = (await place.call(stranger, "GET", "/v1/approvals")).json()["approvals"]
            assert [each["name"] for each in listed] == [name] * (visibility == "all")
            decider = stranger if visibility == "all" else BEN
            assert (await place.decide(decider, name))["metadata"]["state"] == "STARTED"


async def test_the_audit_has_each_question_and_what_became_of_it(tmp_path: Path) -> None:
    """With who has done it, and for whom."""
    file = tmp_path / "audit.jsonl"
    async with backend_of() as backend:
        config = settings(Location(tmp_path / "store.sqlite3"), backend)
        with_audit = config.audit.model_validate({"to": f"file:{file}"})
        async with opened(config.model_copy(update={"audit": with_audit})) as place:
            names = [(await place.ask())["name"] for _ in range(3)]
            await place.decide(ANA, names[0])
            await place.decide(BEN, names[1], "refuse")
            await place.call(AGENT, "POST", f"/v1/{names[2]}:cancel")
        short = settings(Location(tmp_path / "store.sqlite3"), backend, approval_expires="1ms")
        async with opened(short.model_copy(update={"audit": with_audit})) as place:
            late = (await place.ask())["name"]
            await place.get(AGENT, late)
            await place.get(AGENT, late)
    assert [*audited(file)] == [
        *(("agent", "APPROVAL_REQUIRED", name, "") for name in names),
        ("ana", "APPROVED", names[0], str(AGENT)),
        ("ben", "REFUSED", names[1], str(AGENT)),
        ("agent", "CANCELLED", names[2], ""),
        ("agent", "APPROVAL_REQUIRED", late, ""),
        ("agent", "EXPIRED", late, ""),
    ]


async def test_each_sees_what_it_asked_for_or_may_approve(tmp_path: Path) -> None:
    """The newest first, in pages, by state."""
    async with backend_of() as backend, office(tmp_path, backend) as place:
        names = [(await place.ask(who))["name"] for who in (AGENT, EVE, AGENT)]
        await place.decide(BEN, names[0], "refuse")

        async def listed(who: Any, **query: Any) -> list[str]:
            found = await place.call(who, "GET", "/v1/approvals", **query)
            return [each["name"] for each in found.json()["approvals"]]

        assert await listed(ANA) == [*reversed(names)]
        assert await listed(ANA, state="pending") == [names[2], names[1]]
        assert await listed(AGENT) == [names[2], names[0]]
        assert await listed(EVE) == [names[1]]
        first = (await place.call(ANA, "GET", "/v1/approvals", pageSize=2)).json()
        token = first["nextPageToken"]
        assert await listed(ANA, pageSize=2, pageToken=token) == [names[0]]
        stolen = await place.call(EVE, "GET", "/v1/approvals", pageToken=token)
        assert reason_of(stolen) == "INVALID_PAGE_TOKEN"


async def test_a_call_expires(location: Location) -> None:
    """Nobody can approve it any more, and the audit has it once."""
    async with (
        backend_of() as backend,
        office(location, backend, approval_expires="1ms") as place,
    ):
        name = (await place.ask())["name"]
        ended = await place.get(AGENT, name)
        assert (ended["done"], ended["error"]["code"]) == (True, 4)
        assert ended["metadata"]["state"] == "EXPIRED"
        assert await place.decide(ANA, name) == "APPROVAL_DECIDED"
        assert backend.count("BuildMachine") == 0


async def test_a_call_waits_through_a_restart(location: Location) -> None:
    """The request is sealed in the store, and the next process can send it."""
    async with backend_of() as backend:
        async with office(location, backend) as place:
            name = (await place.ask(title="Lathe"))["name"]
            if location.file is not None:
                content = b"".join(
                    each.read_bytes() for each in location.file.parent.glob("store.sqlite3*")
                )
                assert name.removeprefix("approvals/").encode() in content
                assert b"Lathe" not in content
        async with office(location, backend) as place:
            await place.decide(ANA, name)
        (call,) = [each for each in backend.calls if each.method == "BuildMachine"]
        assert call.request.machine.title == "Lathe"
        async with office(location, backend) as place:
            assert (await place.get(AGENT, name))["name"] == "jobs/1"
        assert backend.count("BuildMachine") == 1


async def test_a_call_that_waits_can_be_decided_after_no_method_needs_an_approval(
    location: Location,
) -> None:
    """The configuration has changed. The call still waits, and is still listed and expires."""
    async with backend_of() as backend:
        async with office(location, backend) as place:
            first, second = [(await place.ask())["name"] for _ in range(2)]
        async with office(location, backend, approval=[]) as place:
            assert (await place.get(AGENT, first))["metadata"]["state"] == "PENDING"
            listed = (await place.call(ANA, "GET", "/v1/approvals")).json()["approvals"]
            assert [each["name"] for each in listed] == [second, first]
            assert (await place.decide(ANA, first))["metadata"]["state"] == "STARTED"
            assert (await place.decide(ANA, second, "refuse"))["metadata"]["state"] == "REFUSED"
            assert (await place.ask())["name"] == "jobs/1"
        assert backend.count("BuildMachine") == 2


async def test_a_call_without_its_key_is_not_made(tmp_path: Path) -> None:
    """The key was removed too early. The caller still finds the call, and can cancel it."""
    async with backend_of() as backend:
        async with office(tmp_path, backend) as place:
            name = (await place.ask())["name"]
        async with office(tmp_path, backend, key=bytes(32)) as place:
            assert "request" not in (await place.get(AGENT, name))["metadata"]
            assert await place.decide(ANA, name) == "APPROVAL_UNREADABLE"
            assert (await place.call(AGENT, "POST", f"/v1/{name}:cancel")).json() == {}
            assert (await place.get(AGENT, name))["error"]["code"] == 1


async def test_one_caller_cannot_fill_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its open calls are counted, and those of others are not."""
    monkeypatch.setattr("lro_gateway.service.approvals._MOST", 2)
    async with backend_of() as backend, office(tmp_path, backend) as place:
        first = (await place.ask())["name"]
        await place.ask()
        order = {"parent": "lines/1", "machine": {"title": "Press"}}
        refused = await place.call(AGENT, "POST", BUILD, order)
        assert (refused.status_code, reason_of(refused)) == (429, "TOO_MANY_APPROVALS")
        await place.ask(EVE)
        await place.decide(ANA, first, "refuse")
        await place.ask()


async def test_a_request_that_nobody_could_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is too large to keep cannot wait."""
    monkeypatch.setattr("lro_gateway.service.approval_contents._LARGEST", 10)
    async with backend_of() as backend, office(tmp_path, backend) as place:
        order = {"parent": "lines/1", "machine": {"title": "Press"}}
        refused = await place.call(AGENT, "POST", BUILD, order)
        assert (refused.status_code, reason_of(refused)) == (400, "REQUEST_CANNOT_WAIT")
