"""Events of operations whose names change, because the gateway gets or loses another backend.

A name begins with `//backend/` if another backend may have it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from pydantic import SecretStr

from lro_gateway.deliveries.happenings import DONE, STARTED
from lro_gateway.deliveries.signing import new_secret
from lro_gateway.deliveries.subscribing import WebhookRequest
from lro_gateway.demo.server import DemoServer
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.records.entries import Knowledge, Start, now
from lro_gateway.records.event_entries import Selection, Target
from lro_gateway.records.location import Location
from lro_gateway.service.verb_requests import NameRequest
from tests.certificates import Authority
from tests.deliveries.receiver import Receiver, answering, receiving
from tests.deliveries.stages import ALICE, Demo, Stage, echo, staged

BEGINNING = "0-0-0"
BOTH = (STARTED, DONE)


class Places:
    """The gateway with one backend and with two, one after the other."""

    def __init__(self, location: Location, server: DemoServer, directory: Path) -> None:
        self._of = (location, server, directory)
        self._target = server.target

    def opened(self, *, alone: bool, **more: Any) -> AbstractAsyncContextManager[Stage]:
        """Open the gateway with the store that it has already."""
        others = [] if alone else [{"name": "other", "target": "127.0.0.1:1"}]
        backends = [{"name": "demo", "target": self._target}, *others]
        return staged(*self._of, tables={"backends": backends}, **more)


@pytest.fixture
def places(location: Location, demo: Demo, tmp_path: Path) -> Places:
    """Return the places of a test."""
    return Places(location, demo[0], tmp_path)


def other(name: str) -> str:
    """Return the name that an operation has in the other place."""
    return name.removeprefix("//demo/") if name.startswith("//demo/") else f"//demo/{name}"


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Return the kinds and the names of the events that a receiver got, sorted."""
    bodies: list[Mapping[str, Any]] = [json.loads(each.body) for each in receiver.received]
    return sorted((each["name"], each["data"]["operation"]) for each in bodies)


@pytest.mark.parametrize("alone", [True, False])
async def test_a_webhook_of_one_operation_gets_its_end_under_its_other_name(
    places: Places, demo: Demo, *, alone: bool
) -> None:
    """Once. Its receiver can read the operation by the name in the event."""
    async with receiving(answering(200)) as receiver:
        async with places.opened(alone=alone) as stage:
            name = await stage.start()
            made = await stage.hook(receiver, backend="demo", name=name, kinds=BOTH)
            await receiver.after(1)
        async with places.opened(alone=not alone) as stage:
            again = await stage.hook(receiver, backend="demo", name=other(name), kinds=(DONE,))
            demo[1].release()
            await receiver.after(3)
            assert told(receiver) == [*[(DONE, other(name))] * 2, (STARTED, name)]
            found = await stage.gateway.service.get(ALICE, NameRequest(other(name)))
            assert found.name == other(name)
            for each in (made, again):
                selection = each.subscription.selection
                page = await stage.deliveries.page(ALICE, selection, BEGINNING, limit=10)
                names = [event.target.name for event in page.events]
                assert names == [name, other(name)][-len(selection.kinds) :]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_webhook_of_everything_gets_each_event_once(
    places: Places, demo: Demo, *, alone: bool
) -> None:
    """Also of an operation that nobody has followed under its first name."""
    async with receiving(answering(200)) as receiver:
        async with places.opened(alone=alone) as stage:
            unfollowed = await stage.start("unfollowed")
        async with places.opened(alone=alone) as stage:
            await stage.hook(receiver, kinds=BOTH)
            followed = await stage.start("followed")
            await receiver.after(2)
        async with places.opened(alone=not alone) as stage:
            for name in (unfollowed, followed):
                await stage.deliveries.trackers.follow(Target("demo", other(name)))
            await stage.deliveries.follow_new()
            assert len(stage.deliveries.trackers) == 2
        async with places.opened(alone=alone) as stage:
            await stage.deliveries.follow_new()
            demo[1].release()
            await receiver.after(4)
            assert told(receiver) == sorted(
                (kind, name) for name in (unfollowed, followed) for kind in BOTH
            )


@pytest.mark.parametrize("alone", [True, False])
async def test_a_subscription_of_mcp_is_renewed_and_ended_under_the_other_name(
    places: Places, tmp_path: Path, *, alone: bool
) -> None:
    """The client asks again for what it had asked for, and gets no second subscription."""
    authority = Authority(tmp_path)
    secret = SecretStr(new_secret())

    def request(receiver: Receiver, name: str) -> WebhookRequest:
        return WebhookRequest("mcp", receiver.url, Selection((DONE,), "demo", name), secret)

    tls = receiving(echo, authority.issue("receiver"))
    async with tls as receiver:
        async with places.opened(alone=alone, ca=str(authority.file)) as stage:
            name = await stage.start()
            first = await stage.deliveries.subscribe(ALICE, request(receiver, name))
        async with places.opened(alone=not alone, ca=str(authority.file)) as stage:
            again = await stage.deliveries.subscribe(ALICE, request(receiver, other(name)))
            assert again.subscription.id == first.subscription.id
            assert again.before is not None
        async with places.opened(alone=alone, ca=str(authority.file)) as stage:
            subscribing = stage.deliveries.subscribing
            assert await subscribing.unsubscribe(ALICE, request(receiver, name)) is True
            assert await subscribing.unsubscribe(ALICE, request(receiver, other(name))) is False


async def test_an_operation_whose_name_the_store_cannot_keep_is_not_followed(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """PostgreSQL has no NUL, and without it the name may be that of another operation."""
    async with receiving(answering(200)) as receiver, staged(location, demo[0], tmp_path) as stage:
        journal: Any = stage.gateway.service.starts._journaling.journal  # noqa: SLF001 - to act as it
        for name in ("jobs/\x001", "jobs/2"):
            start = Start(ALICE, "demo", "p.S/M", "0" * 64, now())
            await journal.begin(start)
            running = operations_pb2.Operation(name=name)
            types = stage.gateway.service.backends["demo"].registry.types
            state = Operation("demo", GatewayName(name), running, types, now().timestamp())
            await journal.settle(start, await Knowledge.of(state))
        await stage.hook(receiver, mine=True)
        await stage.deliveries.trackers.follow(Target("demo", "jobs/\x003"))
        followed = stage.deliveries.trackers
        assert [followed.follows(Target("demo", f"jobs/{each}")) for each in "123"] == [
            *(False, True, False),
        ]
        assert len(followed) == 1
