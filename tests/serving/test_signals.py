"""Signals to real processes of every kind: one process, the parent of workers, and stdio."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue

from lro_gateway.demo.v1 import database_admin_pb2
from tests.commands.test_cli import BACKEND, COMMAND
from tests.contrary import Answer, ContraryBackend
from tests.serving.test_workers import Gateway, exists, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_imported_anew")]

_SERVICE = database_admin_pb2.DESCRIPTOR.services_by_name["DatabaseAdmin"].full_name
_HOST = b"Host: localhost\r\n"
SLOW_BODY = b"POST /v1/jobs/1:cancel HTTP/1.1\r\n" + _HOST + b"Content-Length: 100\r\n\r\n{"
"""A request whose body never ends."""
UNREAD_STREAM = b"GET /v1/jobs/1:watch HTTP/1.1\r\n" + _HOST + b"\r\n"
_INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "0"},
}
STDIO_CALLS: tuple[dict[str, Any], ...] = (
    {"id": 0, "method": "initialize", "params": _INITIALIZE},
    {"method": "notifications/initialized"},
    *({"id": number, "method": "tools/list"} for number in range(1, 100)),
)
"""Calls whose answers are larger than a pipe and the reader's buffer together."""
_ORDER = b'{"databaseId":"orders"}'
HUNG_CALL = (
    b"POST /v1/databases HTTP/1.1\r\n"
    + _HOST
    + b"Content-Length: %d\r\n\r\n" % len(_ORDER)
    + _ORDER
)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_hangup_is_logged_and_ends_nothing(tmp_path: Path, workers: int) -> None:
    """A terminal sends SIGHUP to every process of a group, and some tools to the parent alone."""
    async with running(tmp_path, workers=workers) as gateway:
        before = gateway.workers
        os.killpg(gateway.process.pid, signal.SIGHUP)
        await gateway.logged("SIGHUP is ignored")
        gateway.process.send_signal(signal.SIGHUP)
        await gateway.logged("SIGHUP is ignored")
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{gateway.url}/livez")).status_code == 200
        assert gateway.workers == before
        gateway.process.terminate()
        status, log = await gateway.ended()
        assert (status, "ended with" in log) == (0, False)


async def test_a_hangup_over_stdio_is_logged_and_ends_nothing() -> None:
    """The process ends when its client closes stdin."""
    async with stdio() as process:
        assert process.stdin is not None
        gateway = Gateway(process)
        await gateway.logged("is not serving yet")
        process.send_signal(signal.SIGHUP)
        await gateway.logged("SIGHUP is ignored")
        process.stdin.close()
        assert (await gateway.ended())[0] == 0


async def test_a_client_over_stdio_that_reads_no_more_does_not_keep_the_process() -> None:
    """The client has closed stdin, but the answers to its calls fill stdout."""
    calls = b"".join(
        json.dumps({"jsonrpc": "2.0", **call}).encode() + b"\n" for call in STDIO_CALLS
    )
    unread, answers = os.pipe()
    try:
        async with stdio(stdout=answers) as process:
            assert process.stdin is not None
            process.stdin.write(calls)
            # The client leaves once the gateway waits for it to read: the pipe has no room.
            while select.select([], [answers], [], 0)[1]:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
            process.stdin.close()
            # The status is 1 because the process is ended by force.
            assert (await Gateway(process).ended())[0] == 1
    finally:
        os.close(unread)
        os.close(answers)


@asynccontextmanager
async def stdio(
    backends: Sequence[str] = BACKEND, stdout: int = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `lro-gateway serve --stdio`."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", *backends, "--stdio"), stdin=pipe, stdout=stdout, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_ctrl_c_ends_all_processes_at_once(tmp_path: Path, workers: int) -> None:
    """A person need not wait for a request that does not end, or for a worker that hangs."""
    async with running(tmp_path, workers=workers) as gateway:
        processes = {gateway.process.pid, *gateway.workers}
        for pid in gateway.workers:
            os.kill(pid, signal.SIGSTOP)
        url = httpx.URL(gateway.url)
        ended = asyncio.create_task(gateway.process.wait())
        with socket.create_connection((url.host, url.port or 0)) as client:
            client.sendall(SLOW_BODY)
            if workers == 1:
                # The answer on another connection shows that the gateway has read the request.
                async with httpx.AsyncClient() as probe:
                    await probe.get(f"{gateway.url}/livez")
            while not ended.done():
                # The last process may have ended, and only its parent does not know yet.
                with suppress(ProcessLookupError):
                    os.killpg(gateway.process.pid, signal.SIGINT)
                await asyncio.wait({ended}, timeout=0.3)
        status, log = await gateway.ended()
        assert (status, "Traceback" in log) == (-signal.SIGINT, False)
        assert [pid for pid in processes if exists(pid)] == []


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_neighbour_delays_the_end_beyond_the_limit(tmp_path: Path, workers: int) -> None:
    """A backend that does not answer, and clients that neither read nor write, are cut off."""
    called, read = asyncio.Event(), asyncio.Event()

    async def get(request: Any, _context: Any) -> Answer:
        operation = operations_pb2.Operation(name=request.name)
        # A connection that is not read takes less than this.
        operation.metadata.Pack(StringValue(value="x" * 3_900_000))
        read.set()
        answer: Answer = operation
        return answer

    async def hang(_request: Any, _context: Any) -> Answer:
        called.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable: nothing sets the event")

    async with (
        ContraryBackend.open(
            {"GetOperation": get},
            methods={f"{_SERVICE}/CreateDatabase": hang},
            reflection_versions=("v1",),
            pool=descriptor_pool.Default(),
        ) as backend,
        running(tmp_path, backend.target, 'deadline = "60s"', workers=workers) as gateway,
        AsyncExitStack() as stack,
    ):
        url = httpx.URL(gateway.url)
        for request in (SLOW_BODY, UNREAD_STREAM, HUNG_CALL):
            # The client sends this, and never reads.
            client = stack.enter_context(socket.create_connection((url.host, url.port or 0)))
            client.sendall(request)
        async with asyncio.timeout(60):
            await called.wait()
            await read.wait()
        gateway.process.terminate()
        status, log = await gateway.ended()
        assert "Traceback" not in log, log
        # Beyond the limit, the status would be 1.
        assert status == 0


async def test_a_stop_signal_that_comes_twice_is_one(tmp_path: Path) -> None:
    """Programs that start others often pass on what the whole group has got."""
    async with running(tmp_path) as gateway:
        for _ in range(3):
            os.killpg(gateway.process.pid, signal.SIGTERM)
            os.killpg(gateway.process.pid, signal.SIGINT)
        status, log = await gateway.ended()
        assert "Traceback" not in log, log
        assert status == 0


async def test_a_signal_during_the_start_of_workers_ends_the_command(tmp_path: Path) -> None:
    """A start that hangs need not be waited for."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, signal\nif '--multiprocessing-fork' in sys.orig_argv:\n    signal.pause()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", *BACKEND, "--port", "0", "--workers", "2"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    gateway = Gateway(process)
    await gateway.logged("server.keys has no key")
    process.terminate()
    status, log = await gateway.ended()
    assert (status, "Traceback" in log, "REST" in log) == (0, False, False)
