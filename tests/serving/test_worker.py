"""Workers that hang, stop by themselves or cannot start, as real processes."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing import Pipe
from pathlib import Path

import pytest

from lro_gateway.config.models import GatewayConfig, ServerConfig
from lro_gateway.serving.http import bind
from lro_gateway.serving.worker import Worker, WorkerError, _Beats
from tests.serving.test_workers import (
    Backend,
    Gateway,
    backend_of_jobs,
    distinct,
    exists,
    running,
)

pytestmark = pytest.mark.anyio

_PAUSE = 3.0
"""Seconds after which a worker without a beat would have been noticed."""
_HANGS = (
    "import signal, itertools\n"
    "signal.signal(signal.SIGUSR1, lambda *_: sum(itertools.repeat(0)))\n"
    "def forever(*_):\n    while True: pass\n"
    "signal.signal(signal.SIGUSR2, forever)\n"
)
"""Code that gives each process two signals that make it hang, in C and in Python."""

_HELD = (
    "import os, sys, time\n"
    "while '--multiprocessing-fork' in sys.orig_argv and os.path.exists({!r}):\n"
    "    time.sleep(0.05)\n"
)
"""Code that lets no worker start while a file exists."""

Hang = Callable[[int], None]


def _stopped(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def _spinning_in_c(pid: int) -> None:
    os.kill(pid, signal.SIGUSR1)


def _spinning_in_python(pid: int) -> None:
    os.kill(pid, signal.SIGUSR2)


HANGS = pytest.mark.parametrize("hang", [_stopped, _spinning_in_c])


@pytest.fixture(autouse=True)
def _signals_that_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(_HANGS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@asynccontextmanager
async def gateway_to_jobs(directory: Path) -> AsyncIterator[tuple[Gateway, Backend]]:
    """Run two workers in front of a backend. Stopped workers go on at the end."""
    async with backend_of_jobs() as jobs, running(directory, jobs.target) as gateway:
        workers = gateway.workers
        try:
            yield gateway, jobs
        finally:
            for pid in workers:
                if exists(pid):
                    os.kill(pid, signal.SIGCONT)


async def still_runs(gateway: Gateway, seconds: float) -> bool:
    """Return whether the parent process runs after some seconds."""
    try:
        await asyncio.wait_for(gateway.process.wait(), seconds)
    except TimeoutError:
        return True
    return False


def _turns(pid: int) -> int:
    """Return how often a process has waited for something to do."""
    found = re.search(r"^voluntary_ctxt_switches:\t(\d+)$", _status(pid), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


async def turning(pid: int) -> None:
    """Wait until the event loop of a process has turned some times."""
    before = _turns(pid)
    async with asyncio.timeout(60):
        while _turns(pid) < before + 5:  # noqa: ASYNC110 - the process tells nobody
            await asyncio.sleep(0.05)


@HANGS
async def test_a_worker_that_hangs_is_noticed_and_replaced(tmp_path: Path, hang: Hang) -> None:
    """The log names it, and connections that wait at its socket are answered by its successor."""
    async with gateway_to_jobs(tmp_path) as (gateway, jobs), AsyncExitStack() as stack:
        victim, healthy = gateway.workers
        hang(victim)
        line = await gateway.logged("has been silent")
        assert f"worker {victim} has been silent for 2 s; a new worker replaces it" in line
        assert len(await distinct(stack, gateway.url, jobs)) == 2
        assert f"replaces worker {victim}" in await gateway.logged("replaces worker")
        assert f"worker {victim} does not stop" in await gateway.logged("is killed")
        successors = gateway.workers - {victim}
        assert len(successors) == 2
        assert healthy in successors
        gateway.process.terminate()
        assert (await gateway.ended())[0] == 0


async def test_a_worker_that_was_silent_for_a_moment_loses_no_call(tmp_path: Path) -> None:
    """It stops as usual once its successor listens, so its callers get an answer."""
    held = tmp_path / "held"
    (tmp_path / "sitecustomize.py").write_text(_HELD.format(str(held)))
    async with gateway_to_jobs(tmp_path) as (gateway, jobs), AsyncExitStack() as stack:
        held.touch()
        before = gateway.workers
        clients = (await distinct(stack, gateway.url, jobs)).values()
        waits = []
        for number, client in enumerate(clients):
            jobs.waiting.clear()
            waits.append(asyncio.create_task(client.post(f"/v1/jobs/{number}:wait")))
            await jobs.waiting.wait()
        victim = before.pop()
        _stopped(victim)
        await gateway.logged(f"worker {victim} has been silent")
        os.kill(victim, signal.SIGCONT)
        await turning(victim)
        held.unlink()
        await gateway.logged(f"replaces worker {victim}")
        done, (running_wait,) = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        answer = done.pop().result().json()
        assert answer["error"]["details"][0]["reason"] == "GATEWAY_SHUTTING_DOWN"
        running_wait.cancel()
        gateway.process.terminate()
        status, log = await gateway.ended()
        assert (status, "is killed" in log) == (0, False)


async def test_a_pause_of_all_processes_is_no_hang(tmp_path: Path) -> None:
    """Ctrl-Z stops the parent and its workers, and a machine that sleeps does so too."""
    async with gateway_to_jobs(tmp_path) as (gateway, _):
        workers = gateway.workers
        os.killpg(gateway.process.pid, signal.SIGSTOP)
        assert await still_runs(gateway, _PAUSE)
        os.killpg(gateway.process.pid, signal.SIGCONT)
        assert await still_runs(gateway, _PAUSE)
        assert gateway.workers == workers
        gateway.process.terminate()
        status, log = await gateway.ended()
        assert (status, "silent" in log, "replaces" in log) == (0, False, False)


async def test_workers_serve_while_their_parent_is_stopped(tmp_path: Path) -> None:
    """Only the replacement of workers waits for the parent."""
    async with gateway_to_jobs(tmp_path) as (gateway, jobs), AsyncExitStack() as stack:
        gateway.process.send_signal(signal.SIGSTOP)
        assert len(await distinct(stack, gateway.url, jobs)) == 2
        gateway.process.send_signal(signal.SIGCONT)
        assert len(gateway.workers) == 2


async def test_a_worker_that_stops_by_itself_is_replaced_before_it_ends(tmp_path: Path) -> None:
    """SIGTERM to a worker is no way to stop a gateway, but no connection may wait for its end."""
    async with gateway_to_jobs(tmp_path) as (gateway, jobs), AsyncExitStack() as stack:
        victim = gateway.workers.pop()
        os.kill(victim, signal.SIGTERM)
        line = await gateway.logged("a new worker replaces it")
        assert f"worker {victim} " in line
        assert len(await distinct(stack, gateway.url, jobs)) == 2


async def test_sigterm_ends_all_within_the_limit_although_workers_hang(tmp_path: Path) -> None:
    """The status is 0, no process is left, and the log names each worker that hung."""
    async with gateway_to_jobs(tmp_path) as (gateway, _):
        one, other = workers = gateway.workers
        _stopped(one)
        _spinning_in_c(other)
        gateway.process.terminate()
        status, log = await gateway.ended()
        # Beyond the limit, the status would be 1.
        assert status == 0
        for pid in workers:
            assert f"worker {pid} does not stop and is killed" in log
        assert [pid for pid in workers if exists(pid)] == []


async def test_a_worker_that_hangs_in_python_ends_after_its_parent_is_killed(
    tmp_path: Path,
) -> None:
    """No signal of the parent reaches it any more, so it watches over itself."""
    async with gateway_to_jobs(tmp_path) as (gateway, _):
        _spinning_in_python(gateway.workers.pop())
        gateway.process.kill()
        # The log ends when the last process ends.
        status, _ = await gateway.ended()
        assert status == -signal.SIGKILL


async def test_the_log_names_the_calls_that_are_lost_with_a_worker() -> None:
    """An operator can then look for their operations at the backend."""
    reports, reporting = Pipe(duplex=False)
    calls = [f"acme.v1.Builds/RunBuild on builds with request_id {number}" for number in range(99)]
    _Beats(reporting, lambda: calls).begin()
    (beat,) = [reports.recv_bytes()]
    assert beat.startswith(b"+acme.v1.Builds/RunBuild on builds with request_id 0; acme")
    assert len(beat) == 2000


async def test_a_worker_does_not_wait_for_a_parent_that_does_not_read() -> None:
    """A full pipe would otherwise block its event loop."""
    _, reporting = Pipe(duplex=False)
    os.set_blocking(reporting.fileno(), False)
    beats = _Beats(reporting, lambda: ["x" * 1000])
    for _ in range(100):
        beats.begin()


async def test_a_worker_that_does_not_listen_in_time_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended, so that another one can start."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, signal\nif '--multiprocessing-fork' in sys.orig_argv:\n    signal.pause()\n"
    )
    monkeypatch.setattr("lro_gateway.serving.worker._START_LIMIT", 1.0)
    with (
        bind(ServerConfig(port=0)) as listener,
        pytest.raises(WorkerError, match=r"worker \d+ did not listen within 1 s"),
    ):
        await Worker.start(GatewayConfig(), listener)


async def test_a_worker_that_has_not_listened_yet_does_not_count_as_one_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It sends no beats while it opens its gateway, which takes seconds on a slow machine."""
    monkeypatch.setattr("lro_gateway.serving.worker._DEAD", 0.0)
    looked, runs = asyncio.Event(), Worker._runs  # noqa: SLF001 - nothing else tells of a look

    async def counted(self: Worker) -> bool:
        still_runs = await runs(self)
        looked.set()
        return still_runs

    monkeypatch.setattr(Worker, "_runs", counted)
    descriptors = tmp_path / "types.binpb"
    descriptors.touch()
    backend = {"name": "b", "target": "127.0.0.1:1", "descriptors": [str(descriptors)]}
    settings = GatewayConfig.model_validate({"backends": [backend]})
    descriptors.unlink()
    os.mkfifo(descriptors)
    with bind(ServerConfig(port=0)) as listener:
        starting = asyncio.create_task(Worker.start(settings, listener))
        # The worker reads the file now, until this process closes it.
        writing = await asyncio.to_thread(descriptors.open, "wb")
        starting.cancel()
        await looked.wait()
        writing.close()
        await asyncio.wait([starting])
    assert starting.cancelled()
    assert "is killed" not in caplog.text


async def test_a_worker_is_replaced_once_there_are_file_descriptors_again(tmp_path: Path) -> None:
    """The parent outlasts the time in which it cannot start a process."""
    async with gateway_to_jobs(tmp_path) as (gateway, jobs), AsyncExitStack() as stack:
        before = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (8, before[1]))
        os.kill(gateway.workers.pop(), signal.SIGKILL)
        assert "Too many open files" in await gateway.logged("no worker can start")
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, before)
        assert len(await distinct(stack, gateway.url, jobs)) == 2
        gateway.process.terminate()
        status, log = await gateway.ended()
        assert (status, "Traceback" in log) == (0, False)
