"""The command `python -m lro_gateway.demo`: how it starts, stops, and recovers from a kill."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from lro_gateway.demo.server import DemoServer
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from tests.demo.client import Client, leftovers, reason, unpacked


@asynccontextmanager
async def demo_process(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the command on a directory; yield the process and the target that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lro_gateway.demo", "--directory", str(directory),
        "--address", "127.0.0.1:0", "--pace-ms", "20",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        # This closes the pipe, which would otherwise outlive the test.
        await process.communicate()


async def test_after_a_kill_finished_operations_stay_and_interrupted_ones_are_aborted(
    tmp_path: Path,
) -> None:
    """The next start of the server removes the partial files of the killed process."""
    async with (
        demo_process(tmp_path) as (process, target),
        grpc.aio.insecure_channel(target) as channel,
    ):
        client = Client(channel)
        finished = await client.create("finished", rows=1)
        interrupted = await client.begin("interrupted", rows=10_000_000)
        while not leftovers(tmp_path):
            await client.get(interrupted)
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    assert leftovers(tmp_path) != []

    async with (
        DemoServer.open(tmp_path) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        client = Client(channel)
        assert await client.get(finished) == finished
        aborted = await client.get(interrupted)
        assert aborted.done
        assert aborted.error.code == grpc.StatusCode.ABORTED.value[0]
        assert reason(aborted.error) == "SERVER_STOPPED"
        metadata = unpacked(aborted.metadata, pb.CreateDatabaseMetadata)
        assert metadata.HasField("end_time")
        assert leftovers(tmp_path) == []
        assert (await client.create("interrupted", rows=1)).HasField("response")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_ends_cleanly_on_a_signal(tmp_path: Path, number: int) -> None:
    """SIGINT and SIGTERM end it with status 0, and it removes partial files."""
    async with (
        demo_process(tmp_path) as (process, target),
        grpc.aio.insecure_channel(target) as channel,
    ):
        await Client(channel).begin(rows=10_000_000)
        os.kill(process.pid, number)

        assert await process.wait() == 0
    assert leftovers(tmp_path) == []


async def test_an_address_in_use_is_one_sentence_and_not_a_traceback(tmp_path: Path) -> None:
    """A person who runs the demo has a service at the default address already."""
    async with demo_process(tmp_path / "first") as (_, target):
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lro_gateway.demo"),
            *("--directory", str(tmp_path / "second"), "--address", target),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, problems = await second.communicate()
    assert (second.returncode, printed) == (2, b"")
    assert problems.decode().splitlines()[-1] == (
        f"cannot listen at {target}: another process uses it, or it is no address of this machine;"
        " choose another port, or any free one, with --address 127.0.0.1:0"
    )
