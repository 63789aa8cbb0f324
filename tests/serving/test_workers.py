"""Workers: several real processes at one address.

The tests identify a worker by the address from which it calls the backend.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc import code_pb2

from tests.commands.test_cli import BACKEND, COMMAND, failed, refused, run, taken, taken_port
from tests.contrary import Answer, ContraryBackend
from tests.mcp.wire import Wire

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_imported_anew")]

_TRIES = 64
"""The number of connections that surely reach both of two workers.

The probability that one worker gets all of them is 2 to the power of -63.
"""
_TIME_LIMIT = 60
"""Seconds that a step of a test may take."""
_ADDRESS = re.compile(r"REST (http://\S+)/v1, MCP \1/mcp")


@dataclass
class Backend:
    """A backend whose operations run until they are cancelled.

    `calls` has the method and the caller's address of each call, in order.
    """

    target: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    _cancelled: dict[str, asyncio.Event] = field(default_factory=dict)

    @property
    def last_peer(self) -> str:
        """The address that made the last call. Each worker has one connection to the backend."""
        return self.calls[-1][1]

    def peer_of(self, method: str) -> str:
        """Return the address that last called a method."""
        return next(peer for called, peer in reversed(self.calls) if called == method)

    def cancelled(self, name: str) -> asyncio.Event:
        """Return the event that is set once an operation is cancelled."""
        return self._cancelled.setdefault(name, asyncio.Event())

    async def get(self, request: Any, context: Any) -> Answer:
        self.calls.append(("get", context.peer()))
        return self._state(request.name)

    async def wait(self, request: Any, context: Any) -> Answer:
        self.calls.append(("wait", context.peer()))
        self.waiting.set()
        await self.cancelled(request.name).wait()
        return self._state(request.name)

    async def cancel(self, request: Any, context: Any) -> Answer:
        self.calls.append(("cancel", context.peer()))
        self.cancelled(request.name).set()
        return Empty()

    async def list(self, request: Any, context: Any) -> Answer:
        self.calls.append(("list", context.peer()))
        number = int(request.page_token or 1)
        operation = operations_pb2.Operation(name=f"jobs/{number}")
        token = str(number + 1)
        page: Message = operations_pb2.ListOperationsResponse(
            operations=[operation], next_page_token=token
        )
        return page

    def _state(self, name: str) -> Message:
        operation = operations_pb2.Operation(name=name)
        if self.cancelled(name).is_set():
            operation.done = True
            operation.error.code = code_pb2.CANCELLED
        state: Message = operation
        return state


@asynccontextmanager
async def backend_of_jobs() -> AsyncIterator[Backend]:
    """Serve a backend in this process."""
    jobs = Backend()
    handlers = {
        "GetOperation": jobs.get,
        "WaitOperation": jobs.wait,
        "CancelOperation": jobs.cancel,
        "ListOperations": jobs.list,
    }
    async with ContraryBackend.open(handlers) as server:
        jobs.target = server.target
        yield jobs


@dataclass
class Gateway:
    """A gateway of several processes: its parent process, and the lines of its log so far."""

    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The URL of the gateway, which its log shows once."""
        (found,) = _ADDRESS.finditer("".join(self.log))
        return found[1]

    @property
    def workers(self) -> set[int]:
        """The process ids of the workers, without the resource tracker of the parent."""
        started = children(self.process.pid)
        return {child for child in started if b"spawn_main" in command_line(child)}

    async def logged(self, text: str) -> str:
        """Read the log up to the next line that has this text; return that line."""
        assert self.process.stderr is not None
        async with asyncio.timeout(_TIME_LIMIT):
            while line := (await self.process.stderr.readline()).decode():
                self.log.append(line)
                if text in line:
                    return line
        pytest.fail(f"the gateway ended, and its log is {self.log}")

    async def ended(self) -> tuple[int, str]:
        """Wait for the end of every process; return the status and the rest of the log."""
        assert self.process.stderr is not None
        async with asyncio.timeout(_TIME_LIMIT):
            # Each process keeps the log open, so the log ends when the last process ends.
            rest = (await self.process.stderr.read()).decode()
            return await self.process.wait(), rest


@asynccontextmanager
async def running(
    directory: Path, target: str = "127.0.0.1:1", *more: str, workers: int = 2
) -> AsyncIterator[Gateway]:
    """Run `lro-gateway serve` in front of a backend, in a process group of its own.

    Every read calls the backend, so that the call shows which worker answers. `more` are further
    lines of the backend's configuration.
    """
    file = directory / "gateway.toml"
    backend = ('name = "b"', f'target = "{target}"', 'freshness = "0s"', *more)
    file.write_text("\n".join(('server = { sync_grace = "0s" }', "[[backends]]", *backend)))
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", "--config", str(file), "--port", "0", "--workers", str(workers)),
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    gateway = Gateway(process)
    try:
        await gateway.logged("lro-gateway: REST")
        yield gateway
    finally:
        if process.returncode is None:
            # The workers end when their parent has ended.
            process.kill()
        await process.wait()


def children(pid: int) -> list[int]:
    """Return the ids of the child processes of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> bytes:
    """Return the command line of a process, which is empty once the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        # A process may end between the list of the children and this look at one of them.
        return b""


def environment(pid: int) -> bytes:
    """Return the environment variables of a process at its start."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def exists(pid: int) -> bool:
    """Return whether a process runs, or has ended and its parent has not waited for it."""
    return Path(f"/proc/{pid}").exists()


async def distinct(stack: AsyncExitStack, url: str, jobs: Backend) -> dict[str, httpx.AsyncClient]:
    """Connect until two workers have answered; return a client of each by the worker's address.

    Each client keeps one connection, so that the same worker answers all of its requests.
    """
    found: dict[str, httpx.AsyncClient] = {}
    for _ in range(_TRIES):
        limits = httpx.Limits(max_connections=1)
        client = httpx.AsyncClient(base_url=url, timeout=_TIME_LIMIT, limits=limits)
        await stack.enter_async_context(client)
        response = await client.get("/v1/jobs/any")
        assert response.json() == {"name": "jobs/any", "done": False}
        if jobs.last_peer in found:
            await client.aclose()
            continue
        found[jobs.last_peer] = client
        if len(found) == 2:
            return found
    pytest.fail(f"one worker alone answered {_TRIES} connections")


@asynccontextmanager
async def two(url: str, jobs: Backend) -> AsyncIterator[tuple[httpx.AsyncClient, ...]]:
    """Open one client for each of two workers."""
    async with AsyncExitStack() as stack:
        yield tuple((await distinct(stack, url, jobs)).values())


@pytest.fixture(scope="module")
async def jobs() -> AsyncIterator[Backend]:
    """Serve one backend for several tests."""
    async with backend_of_jobs() as served:
        yield served


@pytest.fixture(scope="module")
async def url(jobs: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Run one gateway of two workers for several tests; return its URL."""
    async with running(tmp_path_factory.mktemp("gateway"), jobs.target) as gateway:
        yield gateway.url


async def test_a_task_of_one_worker_is_read_and_cancelled_at_the_other(
    url: str, jobs: Backend
) -> None:
    """The id of the task is sealed with the key that all workers have."""
    async with two(url, jobs) as (one, other):
        maker, follower = Wire(one, "/mcp"), Wire(other, "/mcp")
        task = await maker("tools/call", name="wait_operation", arguments={"name": "jobs/task"})
        assert task["resultType"] == "task"
        made_by = jobs.last_peer
        got = await follower("tasks/get", taskId=task["taskId"])
        assert got["status"] == "working"
        assert jobs.last_peer != made_by
        await follower("tasks/cancel", taskId=task["taskId"])
        assert jobs.peer_of("cancel") != made_by
        assert (await maker("tasks/get", taskId=task["taskId"]))["status"] == "cancelled"
        assert jobs.last_peer == made_by


async def test_a_page_token_of_one_worker_is_valid_at_the_other(url: str, jobs: Backend) -> None:
    """The token is sealed with the key that all workers have."""
    async with two(url, jobs) as (one, other):
        first = (await one.get("/v1/operations")).json()
        first_peer = jobs.last_peer
        response = await other.get("/v1/operations", params={"pageToken": first["nextPageToken"]})
        assert response.json()["operations"] == [{"name": "jobs/2", "done": False}]
        assert jobs.last_peer != first_peer


async def test_a_wait_at_one_worker_ends_when_the_other_cancels(url: str, jobs: Backend) -> None:
    """The backend knows the state of an operation, and each worker reads it there."""
    async with two(url, jobs) as (one, other):
        jobs.waiting.clear()
        wait = asyncio.create_task(one.post("/v1/jobs/waited:wait"))
        async with asyncio.timeout(_TIME_LIMIT):
            await jobs.waiting.wait()
        assert (await other.post("/v1/jobs/waited:cancel")).status_code == 200
        ended = (await wait).json()
        assert (ended["done"], ended["error"]["code"]) == (True, code_pb2.CANCELLED)
        assert jobs.peer_of("cancel") != jobs.peer_of("wait")


async def test_sigterm_ends_all_and_every_wait(tmp_path: Path) -> None:
    """The parent ends with status 0 after its workers; a wait fails with GATEWAY_SHUTTING_DOWN."""
    async with (
        backend_of_jobs() as jobs,
        running(tmp_path, jobs.target) as gateway,
        two(gateway.url, jobs) as (one, _),
    ):
        workers = gateway.workers
        assert len(workers) == 2
        wait = asyncio.create_task(one.post("/v1/jobs/waited:wait"))
        async with asyncio.timeout(_TIME_LIMIT):
            await jobs.waiting.wait()
        gateway.process.terminate()
        error = (await wait).json()["error"]
        assert error["details"][0]["reason"] == "GATEWAY_SHUTTING_DOWN"
        status, log = await gateway.ended()
        assert status == 0
        assert "Traceback" not in log
        assert "ended with" not in log
        assert [pid for pid in workers if exists(pid)] == []


async def test_ctrl_c_reaches_all_processes_and_ends_them_as_one(tmp_path: Path) -> None:
    """A terminal sends SIGINT to the whole group, and the workers end only when the parent does."""
    async with running(tmp_path) as gateway:
        os.killpg(gateway.process.pid, signal.SIGINT)
        status, log = await gateway.ended()
    assert status == 0
    assert "Traceback" not in log
    assert "ended with" not in log


async def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """The log reports it; then two workers answer again, and one of them is new."""
    async with (
        backend_of_jobs() as jobs,
        running(tmp_path, jobs.target) as gateway,
        AsyncExitStack() as stack,
    ):
        before = await distinct(stack, gateway.url, jobs)
        workers = gateway.workers
        victim = workers.pop()
        os.kill(victim, signal.SIGKILL)
        line = await gateway.logged("a new worker replaces it")
        assert f"worker {victim} ended with status -9; a new worker replaces it" in line
        after = await distinct(stack, gateway.url, jobs)
        assert len(after.keys() - before.keys()) == 1
        assert workers < gateway.workers
        assert len(gateway.workers) == 2
        gateway.process.terminate()
        assert (await gateway.ended())[0] == 0


async def test_a_worker_that_cannot_be_replaced_yet_is_replaced_later(tmp_path: Path) -> None:
    """The other workers keep serving, and the log has the reason."""
    descriptors = tmp_path / "types.binpb"
    sound = FileDescriptorSet(file=[FileDescriptorProto(name="types.proto")]).SerializeToString()
    descriptors.write_bytes(sound)
    line = 'descriptors = ["types.binpb"]'
    async with (
        backend_of_jobs() as jobs,
        running(tmp_path, jobs.target, line) as gateway,
        AsyncExitStack() as stack,
    ):
        descriptors.write_bytes(b"\xff\xff")
        os.kill(gateway.workers.pop(), signal.SIGKILL)
        assert "types.binpb" in await gateway.logged("no worker can start")
        descriptors.write_bytes(sound)
        assert len(await distinct(stack, gateway.url, jobs)) == 2


def test_a_worker_that_dies_before_it_serves_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker serves yet at that time, and retries would hide the fault."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--multiprocessing-fork' in sys.orig_argv:\n    os._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ended = run("serve", *BACKEND, "--port", "0", "--workers", "2")
    assert ended.returncode == 1
    assert re.search(r"worker \d+ ended with status 3 before it listened\n\Z", ended.stderr)
    assert "Traceback" not in ended.stderr


async def test_workers_do_not_outlive_a_parent_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers without a parent would keep the port, and no signal to the parent could stop them.

    The next gateway removes what these have shared.
    """
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shared"))
    async with running(tmp_path) as gateway:
        gateway.process.kill()
        status, log = await gateway.ended()
    assert status == -signal.SIGKILL
    assert "Traceback" not in log
    (left,) = (tmp_path / "shared").iterdir()
    async with running(tmp_path) as gateway:
        assert left not in (tmp_path / "shared").iterdir()
        gateway.process.terminate()
        assert (await gateway.ended())[0] == 0
    assert [*(tmp_path / "shared").iterdir()] == []


async def test_without_a_configured_key_the_workers_share_a_secret_one(tmp_path: Path) -> None:
    """The parent warns once; the key is in no command line and in no environment.

    The only variable that the parent adds is the directory of the workers' metrics.
    """
    async with running(tmp_path) as gateway:
        warnings = [line for line in gateway.log if "server.keys has no key" in line]
        assert len(warnings) == 1
        assert "until these workers stop" in warnings[0]
        started = set()
        for pid in gateway.workers:
            added = set(environment(pid).split(b"\0")) - {
                *environment(gateway.process.pid).split(b"\0")
            }
            assert {each.partition(b"=")[0] for each in added} == {b"PROMETHEUS_MULTIPROC_DIR"}
            started.add(re.sub(rb"\d+", b"", command_line(pid)))
        assert len(started) == 1
        assert len(started.pop()) < 300


async def test_one_worker_is_the_process_itself(tmp_path: Path) -> None:
    """With `--workers 1` the command starts no child processes."""
    async with running(tmp_path, workers=1) as gateway:
        assert children(gateway.process.pid) == []


async def test_workers_cannot_share_the_port_of_another_gateway(tmp_path: Path) -> None:
    """The sockets of workers can share a port, so the parent first checks that it is free."""
    async with running(tmp_path) as gateway:
        port = str(httpx.URL(gateway.url).port)
        arguments = ("serve", *BACKEND, "--port", port, "--workers", "2")
        messages = await asyncio.to_thread(failed, *arguments)
    assert messages == [taken(int(port))]


def test_a_port_that_is_taken_is_reported_once() -> None:
    """Several workers print the same message as one process."""
    with taken_port() as port:
        messages = failed("serve", *BACKEND, "--port", str(port), "--workers", "2")
    assert messages == [taken(port)]


def test_a_mistake_that_workers_find_is_reported_once(tmp_path: Path) -> None:
    """Workers read the descriptor files of backends, so both of them find the same mistake."""
    (tmp_path / "junk.binpb").write_bytes(b"\xff\xff")
    (tmp_path / "gateway.toml").write_text(
        "[[backends]]\nname = 'b'\ntarget = '127.0.0.1:1'\ndescriptors = ['junk.binpb']\n"
    )
    arguments = ("--config", "gateway.toml", "--port", "0", "--workers", "2")
    (message,) = failed("serve", *arguments, directory=tmp_path)
    assert message.startswith("backend b: descriptors: ")


def test_workers_need_an_address() -> None:
    """Over stdio there is one client and no address."""
    messages = refused("serve", *BACKEND, "--stdio", "--workers", "2")
    assert messages == [
        "--workers cannot be used with --stdio, because no address is shared over stdio"
    ]


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_an_invalid_number_of_workers_is_refused(count: str) -> None:
    """The number of workers is an integer of at least 1."""
    assert "--workers" in "".join(refused("serve", *BACKEND, "--workers", count))
