"""Workers: several real processes at one address, told apart by whence they call the backend."""

from __future__ import annotations

import asyncio
import json
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

from tests.commands.test_cli import BACKEND, COMMAND, refused, run, taken_port
from tests.contrary import Answer, ContraryBackend
from tests.mcp.wire import Wire

pytestmark = pytest.mark.anyio

_TRIES = 64
"""Connections after which two workers surely were met: all at one has a chance of 2 to the -63."""
_PATIENCE = 60
_ADDRESS = re.compile(r"REST (http://\S+)/v1, MCP \1/mcp")


@dataclass
class Backend:
    """Operations that run until they are cancelled, and who asked for what, in order."""

    target: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    _cancelled: dict[str, asyncio.Event] = field(default_factory=dict)

    @property
    def last_peer(self) -> str:
        """Who made the last call: each worker has one connection."""
        return self.calls[-1][1]

    def peer_of(self, method: str) -> str:
        """Return who last called a method."""
        return next(peer for called, peer in reversed(self.calls) if called == method)

    def cancelled(self, name: str) -> asyncio.Event:
        """Return what is set once an operation is cancelled."""
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
    """Serve a backend."""
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
    """A gateway of several processes: its parent, and what was read of its log."""

    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it says that it serves; it does so once."""
        (found,) = _ADDRESS.finditer("".join(self.said))
        return found[1]

    @property
    def workers(self) -> set[int]:
        """The ids of its workers; beside them the parent may have a tracker of what they share."""
        started = children(self.process.pid)
        return {child for child in started if b"spawn_main" in command_line(child)}

    async def says(self, text: str) -> str:
        """Return the next line of the log that has this text."""
        assert self.process.stderr is not None
        async with asyncio.timeout(_PATIENCE):
            while line := (await self.process.stderr.readline()).decode():
                self.said.append(line)
                if text in line:
                    return line
        pytest.fail(f"it ended and said {self.said}")

    async def ends(self) -> tuple[int, str]:
        """Wait for the end of every process; return the status and the rest of the log."""
        assert self.process.stderr is not None
        async with asyncio.timeout(_PATIENCE):
            # Each process holds the log open: it ends with the last of them.
            rest = (await self.process.stderr.read()).decode()
            return await self.process.wait(), rest


@asynccontextmanager
async def running(
    directory: Path, target: str = "127.0.0.1:1", *more: str, workers: int = 2
) -> AsyncIterator[Gateway]:
    """Run `lro-gateway serve` in front of a backend, in a process group of its own.

    Every read is a call of the backend, so that it shows who answers. `more` are lines of its
    configuration.
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
        await gateway.says("lro-gateway: REST")
        yield gateway
    finally:
        if process.returncode is None:
            # Its workers end by themselves.
            process.kill()
        await process.wait()


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that have not been waited for."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> bytes:
    """Return how a process was started."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def environment(pid: int) -> bytes:
    """Return the environment that a process was started in."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def is_there(pid: int) -> bool:
    """Tell whether a process runs, or has ended and nobody has waited for it."""
    return Path(f"/proc/{pid}").exists()


async def distinct(stack: AsyncExitStack, url: str, jobs: Backend) -> dict[str, httpx.AsyncClient]:
    """Connect until two workers have answered; returns a client of each, by its peer.

    The connection of a client is kept alive, and leads to one worker for as long as it lives.
    """
    found: dict[str, httpx.AsyncClient] = {}
    for _ in range(_TRIES):
        limits = httpx.Limits(max_connections=1)
        client = httpx.AsyncClient(base_url=url, timeout=_PATIENCE, limits=limits)
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
    """Open a client of each of two workers."""
    async with AsyncExitStack() as stack:
        yield tuple((await distinct(stack, url, jobs)).values())


@pytest.fixture(scope="module")
async def jobs() -> AsyncIterator[Backend]:
    """Serve a backend for several tests."""
    async with backend_of_jobs() as served:
        yield served


@pytest.fixture(scope="module")
async def url(jobs: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Run a gateway of two workers for several tests."""
    async with running(tmp_path_factory.mktemp("gateway"), jobs.target) as gateway:
        yield gateway.url


async def test_a_task_of_one_worker_is_followed_and_cancelled_at_the_other(
    url: str, jobs: Backend
) -> None:
    """Its id is sealed with the key that all of them have."""
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


async def test_a_list_begun_at_one_worker_goes_on_at_the_other(url: str, jobs: Backend) -> None:
    """Page tokens are sealed likewise."""
    async with two(url, jobs) as (one, other):
        first = (await one.get("/v1/operations")).json()
        begun_by = jobs.last_peer
        response = await other.get("/v1/operations", params={"pageToken": first["nextPageToken"]})
        assert response.json()["operations"] == [{"name": "jobs/2", "done": False}]
        assert jobs.last_peer != begun_by


async def test_a_wait_at_one_worker_ends_when_the_other_cancels(url: str, jobs: Backend) -> None:
    """What happens to an operation is the backend's to tell, and each worker asks."""
    async with two(url, jobs) as (one, other):
        jobs.waiting.clear()
        wait = asyncio.create_task(one.post("/v1/jobs/waited:wait"))
        async with asyncio.timeout(_PATIENCE):
            await jobs.waiting.wait()
        assert (await other.post("/v1/jobs/waited:cancel")).status_code == 200
        ended = (await wait).json()
        assert (ended["done"], ended["error"]["code"]) == (True, code_pb2.CANCELLED)
        assert jobs.peer_of("cancel") != jobs.peer_of("wait")


async def test_sigterm_ends_all_and_every_wait(tmp_path: Path) -> None:
    """The parent ends with status 0 once its workers have; who waits is told to ask again."""
    async with (
        backend_of_jobs() as jobs,
        running(tmp_path, jobs.target) as gateway,
        two(gateway.url, jobs) as (one, _),
    ):
        workers = gateway.workers
        assert len(workers) == 2
        wait = asyncio.create_task(one.post("/v1/jobs/waited:wait"))
        async with asyncio.timeout(_PATIENCE):
            await jobs.waiting.wait()
        gateway.process.terminate()
        told = (await wait).json()["error"]
        assert told["details"][0]["reason"] == "GATEWAY_SHUTTING_DOWN"
        status, log = await gateway.ends()
        assert status == 0
        assert "Traceback" not in log
        assert "ended with" not in log
        assert [pid for pid in workers if is_there(pid)] == []


async def test_ctrl_c_reaches_all_processes_and_ends_them_as_one(tmp_path: Path) -> None:
    """A terminal sends SIGINT to the whole group; no worker ends before its parent says so."""
    async with running(tmp_path) as gateway:
        os.killpg(gateway.process.pid, signal.SIGINT)
        status, log = await gateway.ends()
    assert status == 0
    assert "Traceback" not in log
    assert "ended with" not in log


async def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """The log says so, and then two answer again, one of them new."""
    async with (
        backend_of_jobs() as jobs,
        running(tmp_path, jobs.target) as gateway,
        AsyncExitStack() as stack,
    ):
        before = await distinct(stack, gateway.url, jobs)
        workers = gateway.workers
        victim = workers.pop()
        os.kill(victim, signal.SIGKILL)
        line = await gateway.says("takes its place")
        assert f"worker {victim} ended with status -9; another takes its place" in line
        after = await distinct(stack, gateway.url, jobs)
        assert len(after.keys() - before.keys()) == 1
        assert workers < gateway.workers
        assert len(gateway.workers) == 2
        gateway.process.terminate()
        assert (await gateway.ends())[0] == 0


async def test_a_worker_that_cannot_be_replaced_yet_is_replaced_later(tmp_path: Path) -> None:
    """The others serve on, and the log says what stands in the way."""
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
        assert "types.binpb" in await gateway.says("no worker can start")
        descriptors.write_bytes(sound)
        assert len(await distinct(stack, gateway.url, jobs)) == 2


def test_a_worker_that_dies_before_it_serves_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start nothing serves yet, and trying on would hide that."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--multiprocessing-fork' in sys.orig_argv:\n    os._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ended = run("serve", *BACKEND, "--port", "0", "--workers", "2")
    assert ended.returncode == 1
    assert re.search(r"worker \d+ ended with status 3 before it listened\n\Z", ended.stderr)
    assert "Traceback" not in ended.stderr


async def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Nobody could stop them, and they would keep the port."""
    async with running(tmp_path) as gateway:
        gateway.process.kill()
        status, log = await gateway.ends()
    assert status == -signal.SIGKILL
    assert "Traceback" not in log


async def test_without_a_key_they_share_one_that_shows_nowhere(tmp_path: Path) -> None:
    """The parent alone says that there is none; the key is in no command line or environment."""
    async with running(tmp_path) as gateway:
        told = [line for line in gateway.said if "server.keys has no key" in line]
        assert len(told) == 1
        assert "end with this group of workers" in told[0]
        started = set()
        for pid in gateway.workers:
            assert environment(pid) == environment(gateway.process.pid)
            started.add(re.sub(rb"\d+", b"", command_line(pid)))
        assert len(started) == 1
        assert len(started.pop()) < 300


async def test_one_worker_is_the_process_itself(tmp_path: Path) -> None:
    """Who asks for one gets what there was without the option."""
    async with running(tmp_path, workers=1) as gateway:
        assert children(gateway.process.pid) == []


async def test_a_port_of_other_workers_is_taken(tmp_path: Path) -> None:
    """Sockets that share a port would share it with those of another gateway as well."""
    async with running(tmp_path) as gateway:
        port = str(httpx.URL(gateway.url).port)
        said = await asyncio.to_thread(refused, "serve", *BACKEND, "--port", port, "--workers", "2")
    assert said == [f"cannot listen at 127.0.0.1:{port}: Address already in use"]


def test_a_port_that_is_taken_is_told_once() -> None:
    """As by one process."""
    with taken_port() as port:
        said = refused("serve", *BACKEND, "--port", str(port), "--workers", "2")
    assert said == [f"cannot listen at 127.0.0.1:{port}: Address already in use"]


def test_a_mistake_that_workers_find_is_told_once(tmp_path: Path) -> None:
    """What the backends' files hold shows when a worker opens them."""
    (tmp_path / "junk.binpb").write_bytes(b"\xff\xff")
    (tmp_path / "gateway.toml").write_text(
        f"[[backends]]\nname = 'b'\ntarget = {json.dumps(BACKEND[1])}\n"
        "descriptors = ['junk.binpb']\n"
    )
    arguments = ("--config", "gateway.toml", "--port", "0", "--workers", "2")
    (said,) = refused("serve", *arguments, directory=tmp_path)
    assert said.startswith("backend b: descriptors: ")


def test_workers_need_an_address() -> None:
    """Over stdio there is one client, and nothing to share."""
    said = refused("serve", *BACKEND, "--stdio", "--workers", "2")
    assert said == ["--workers shares an address among processes, and with --stdio nothing listens"]


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    """At least one process serves."""
    assert "--workers" in "".join(refused("serve", *BACKEND, "--workers", count))
