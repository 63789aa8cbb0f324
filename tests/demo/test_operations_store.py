"""The file of operations: finished operations expire, and one process uses it at a time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from lro_gateway.demo.operations_store import DirectoryInUseError
from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from tests.demo.client import Client, names, refusal


async def test_finished_operations_expire_and_running_ones_do_not(tmp_path: Path) -> None:
    """The retention time of an operation begins at its end."""
    time_of_day = datetime(2030, 1, 1, tzinfo=UTC)
    gate = Gate()
    async with (
        DemoServer.open(
            tmp_path, pace=gate, retention=timedelta(hours=1), clock=lambda: time_of_day
        ) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        client = Client(channel)
        finished = await client.create("finished")
        async with gate:
            running = await client.begin("running")
            time_of_day += timedelta(minutes=59)
            assert names(await client.list()) == [running.name, finished.name]
            time_of_day += timedelta(minutes=1)

            assert names(await client.list()) == [running.name]
            assert (await refusal(client.get(finished)))[0] == grpc.StatusCode.NOT_FOUND


async def test_a_directory_serves_one_server_at_a_time(server: DemoServer, tmp_path: Path) -> None:
    """A second server does not start, because it would abort the operations of the first."""
    assert server.target
    with pytest.raises(DirectoryInUseError):
        async with DemoServer.open(tmp_path):
            pass
