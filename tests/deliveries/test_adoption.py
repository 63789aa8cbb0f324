"""Operations that somebody else has started, and that a subscription lets the journal adopt."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from lro_gateway.demo.server import DemoServer
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from lro_gateway.demo.v1.database_admin_pb2_grpc import DatabaseAdminStub
from lro_gateway.errors import StatusError
from lro_gateway.principal import Principal
from lro_gateway.records.entries import EntryState
from lro_gateway.records.event_entries import Selection
from lro_gateway.records.location import Location
from lro_gateway.service.mine import entry_json
from lro_gateway.service.mine_request import MineRequest
from lro_gateway.service.verb_requests import NameRequest
from tests.deliveries.receiver import answering, receiving
from tests.deliveries.stages import ALICE, EVE, Demo, Stage, staged

_AUTH = {"auth": {"stdio": {"subject": "local"}}}


async def started_elsewhere(server: DemoServer) -> str:
    """Start an operation at the backend itself, and return its name."""
    async with grpc.aio.insecure_channel(server.target) as channel:
        admin: Any = DatabaseAdminStub(channel)
        started = await admin.CreateDatabase(pb.CreateDatabaseRequest(database_id="one"))
        return str(started.name)


async def forgotten(server: DemoServer, name: str) -> None:
    """Delete an operation at the backend itself."""
    async with grpc.aio.insecure_channel(server.target) as channel:
        operations: Any = operations_pb2_grpc.OperationsStub(channel)
        await operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name=name))


async def listed(stage: Stage, caller: Principal, **query: Any) -> list[tuple[str | None, str]]:
    """Return the names and states of what a caller follows or has started."""
    page = await stage.gateway.service.mine.page(caller, MineRequest(**query))
    return [(each.name, each.state.value) for each in page.entries]


async def test_the_journal_adopts_what_a_webhook_follows(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """Its end is still there after the backend has forgotten it, and it still exists for all."""
    server, gate = demo
    name = await started_elsewhere(server)
    opened = partial(staged, location, server, tmp_path, {"visibility": "owner"}, tables=_AUTH)
    async with receiving(answering(200)) as receiver, opened() as stage:
        service = stage.gateway.service
        # This process has noted that the operation was not started here.
        await service.get(EVE, NameRequest(name))
        assert await listed(stage, ALICE) == []
        await stage.hook(receiver, backend="demo", name=name)
        assert await listed(stage, ALICE) == [(name, "running")]
        (entry,) = (await service.mine.page(ALICE, MineRequest())).entries
        assert "method" not in entry_json(entry)
        assert await listed(stage, EVE) == []
        assert not (await service.get(EVE, NameRequest(name))).done
        gate.release()
        await receiver.after(1)
        await forgotten(server, name)
        assert await listed(stage, ALICE, state=EntryState.SUCCEEDED) == [(name, "succeeded")]
    async with opened() as stage:
        found = await stage.gateway.service.get(EVE, NameRequest(name))
        assert (found.done, found.archived is not None) == (True, True)


async def test_what_is_adopted_does_not_count_as_started_by_its_follower(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """A webhook of a caller's own operations does not get it, nor does a second subscription."""
    server, gate = demo
    name = await started_elsewhere(server)
    async with receiving(answering(200)) as receiver, staged(location, server, tmp_path) as stage:
        await stage.deliveries.page(ALICE, Selection(backend="demo", name=name), None)
        own = await stage.hook(receiver, mine=True)
        mine = await stage.start("two")
        gate.release()
        await receiver.after(1)
        await stage.deliveries.sender.drain()
        deliveries, _ = await stage.deliveries.deliveries(ALICE, own.subscription.id)
        assert [each.event.target.name for each in deliveries] == [mine]
        await stage.deliveries.page(EVE, Selection(backend="demo", name=name), None)
        assert {each for each, _ in await listed(stage, ALICE)} == {name, mine}
        assert await listed(stage, EVE) == []


async def test_an_adopted_operation_that_its_backend_has_lost_says_so(
    location: Location, tmp_path: Path, demo: Demo
) -> None:
    """It was never new here, so NOT_FOUND means that it is gone."""
    server, _ = demo
    name = await started_elsewhere(server)
    async with staged(location, server, tmp_path) as stage:
        await stage.deliveries.page(ALICE, Selection(backend="demo", name=name), None)
    await forgotten(server, name)
    async with staged(location, server, tmp_path) as stage:
        with pytest.raises(StatusError, match=r"was followed from .* on, and the"):
            await stage.gateway.service.get(ALICE, NameRequest(name))
