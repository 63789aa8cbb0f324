"""Fixtures for all tests."""

from __future__ import annotations

import asyncio
import compileall
import gc
import importlib.util
import sys
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import httpx
import httpx2
import pytest
from anyio.pytest_plugin import get_runner
from hypothesis import settings

from lro_gateway.records.location import Location
from tests.certificates import Authority
from tests.forking import forked_commands
from tests.postgresql import PostgreSql, postgresql
from tests.steps import Steps, gateway_to

# A test of Hypothesis has no deadline, because a busy machine must not fail it.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")

_PACKAGE = Path(__file__).parents[1] / "lro_gateway"
_LONGEST = (
    # The tests of a process share its metrics. These take 2 s in a new process, and 70 s last.
    *("telemetry/test_metrics.py", "service/test_stalls.py"),
    *("conformance/test_conformance.py", "serving/test_worker.py", "fuzz/test_fuzz.py"),
    *("test_docs.py", "mcp/test_converters.py"),
    *("faces/test_hostile_values.py",),
    *("serving/test_workers.py", "serving/test_signals.py", "serving/test_logs.py"),
    *("googleapis/test_starts_over_rest.py", "conformance/test_extension.py"),
    *("faces/test_given_names.py", "service/test_memory.py", "googleapis/test_gcloud.py"),
    *("faces/test_large_descriptors.py", "faces/test_schemathesis.py", "commands/test_demo.py"),
    *("googleapis/test_starts_over_mcp.py", "serving/test_exchanges.py", "test_chaos.py"),
    *("serving/test_large_answers.py", "test_packaging.py", "mcp/test_large_answers.py"),
    *("serving/test_connection.py", "serving/test_metrics_page.py", "test_economy.py"),
    *("googleapis/test_plain_methods.py", "test_drawing.py"),
    *("access/test_ownership_crossing.py", "deliveries/test_deliveries.py"),
    *("records/test_kills.py", "commands/test_approvals.py", "mcp/events/test_methods.py"),
)
"""The files to begin with: those that take longest although they have few tests, longest first."""


if importlib.util.find_spec("sniffio") is None:
    # httpx imports it for each request. Python would search all directories for it each time.
    # Measured: a request to the gateway then takes twice as much computing.
    sys.modules["sniffio"] = None  # type: ignore[assignment]


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once, for the many processes that tests start.

    Python itself keeps no compiled modules where PYTHONDONTWRITEBYTECODE is set. Measured: each
    process then computes a quarter longer until it serves.
    """
    # Then pytest keeps the tests as it has compiled them, which is 40% of the work to collect them.
    sys.dont_write_bytecode = False
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(_PACKAGE, quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without garbage collections.

    Almost all that is made stays, so collections only visit it again and again. Measured: they are
    a fifth of the work.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take long if several processes share the tests.

    One process runs all tests of a file. If it began a long file last, the others would wait.
    """
    if not hasattr(config, "workerinput"):
        return
    sizes = Counter(item.path for item in items)
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: (ranks.get(item.path, len(ranks)), -sizes[item.path]))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run the tests on asyncio, because the gateway runs on it."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _one_event_loop(anyio_backend: str) -> Iterator[None]:
    """Hold one event loop for the whole run, and refuse every other one in this process.

    gRPC has one poller in a process. When a call ends, the poller wakes every loop that has used
    gRPC. The first of these loops passes the end on to the loop of the call. A call that a test
    left may end after the test. If the loop of the call is closed by then, "Event loop is closed"
    is raised in another test.
    """
    with get_runner(anyio_backend, {}), pytest.MonkeyPatch.context() as patch:
        for module in (asyncio, asyncio.events):
            patch.setattr(module, "new_event_loop", _refuse_another_loop)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one authority instead of those of the system, which take 0.03 s for each HTTP client.

    The tests talk only to loopback, mostly without TLS. There are thousands of clients in a run.
    """
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))
        yield


@pytest.fixture(scope="session", autouse=True)
def _patient_clients() -> Iterator[None]:
    """Let HTTP clients to which a test gives no time wait for a minute, and not for 5 seconds.

    A busy machine may need longer than that for any answer.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (httpx, httpx2):
            for call in (module.AsyncClient.__init__, module.Client.__init__, module.request):
                patch.setitem(call.__kwdefaults__, "timeout", module.Timeout(60))
            for name in ("get", "head", "options", "delete", "post", "put", "patch"):
                patch.setitem(getattr(module, name).__kwdefaults__, "timeout", module.Timeout(60))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_store_by_default() -> Iterator[None]:
    """Let `serve` run without a store unless a test gives it one.

    The processes of all tests would share the file of this user, and each start would compute more.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRO_GATEWAY_STORE", "none")
        yield


@pytest.fixture(scope="session", autouse=True)
def _fast_starts() -> Iterator[None]:
    """Start `lro-gateway` without its imports, which are most of the computing of a start."""
    with forked_commands():
        yield


@pytest.fixture
def _imported_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Start `lro-gateway` with its imports, as users do; a search path of its own asks for it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path_factory.mktemp("modules")))


def _refuse_another_loop() -> NoReturn:
    raise RuntimeError("a test runs on the loop of the whole run; see tests/conftest.py")


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSql]:
    """Run one PostgreSQL server for all tests of a process."""
    with postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Return the location of a store that does not exist yet, on each kind of database."""
    if request.param == "sqlite":
        return Location(tmp_path / "state" / "store.sqlite3")
    running: PostgreSql = request.getfixturevalue("server")
    return Location.parse(running.create_database())


@pytest.fixture
def steps() -> Steps:
    """Return an operation whose progress the test sets."""
    return Steps()


@pytest.fixture
async def steps_url(steps: Steps) -> AsyncIterator[str]:
    """Serve a gateway to the operation of `steps`; yields its base URL."""
    async with gateway_to(steps) as url:
        yield url


@pytest.fixture
def _nothing_is_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat no operation as new, so that NOT_FOUND means its end, as it does after 30 seconds."""
    monkeypatch.setattr("lro_gateway.backends.recent.RECENT", 0.0)


@pytest.fixture
def _any_answer_is_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count each answer of WaitOperation without news as early, however late a busy machine is."""
    monkeypatch.setattr("lro_gateway.service.polling._BLOCKING_FRACTION", 1000.0)


@pytest.fixture
def _ends_stay_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer reads of an operation that is done from its kept state for longer than 5 seconds."""
    monkeypatch.setattr("lro_gateway.service.reads._DONE_FRESHNESS", 300.0)


@pytest.fixture
def _patient_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gateways of a test wait longer for the health of a backend than for two seconds."""
    monkeypatch.setattr("lro_gateway.gateway._HEALTH_DEADLINE", timedelta(seconds=60))
