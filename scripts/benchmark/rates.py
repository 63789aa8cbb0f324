"""How fast: contenders take turns in rounds, so that a drift of the machine hits all alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from scripts.benchmark.exchange import ask_once
from scripts.benchmark.jobs import GET, START, Job
from scripts.benchmark.processes import Program, Served, gateway, program
from scripts.benchmark.usage import cpu_seconds

WARM_UP: Final = 0.15


@dataclass(frozen=True, slots=True)
class Contender:
    """What is measured: a job done by one server, with one gRPC call a request.

    `bare` is the key of the contender that it is held against, `target` how near it is to come.
    """

    key: str
    title: str
    job: Job
    protocol: str
    server: str
    bare: str = ""
    target: float = 0.0


GATEWAY: Final = "gateway"
DIRECT: Final = "grpc"
BARE: Final = ("bare_rest", "bare_mcp")
"""The programs beside the gateway; of direct calls the load generator is what is measured."""

_START: Final = 0.5
"""Half the requests/s: a start takes at most twice the time of a bare one."""

CONTENDERS: Final = (
    Contender("grpc", "direct grpc.aio get", GET, "grpc", DIRECT),
    Contender("bare_rest", "bare FastAPI get", GET, "rest", "bare_rest"),
    Contender("rest", "gateway REST get", GET, "rest", GATEWAY, "bare_rest", 0.85),
    Contender("bare_mcp", "bare MCP get", GET, "mcp", "bare_mcp"),
    Contender("mcp", "gateway MCP get_operation", GET, "mcp", GATEWAY, "bare_mcp", 0.9),
    Contender("grpc_start", "direct grpc.aio start", START, "grpc", DIRECT),
    Contender("bare_rest_start", "bare FastAPI start", START, "rest", "bare_rest"),
    Contender(
        "rest_start", "gateway REST start", START, "rest", GATEWAY, "bare_rest_start", _START
    ),
    Contender("bare_mcp_start", "bare MCP start", START, "mcp", "bare_mcp"),
    Contender("mcp_start", "gateway MCP start", START, "mcp", GATEWAY, "bare_mcp_start", _START),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender in one round.

    RPCs are counted at the backend. `cpu_us` is the processor time that the contender's process
    took for each request, in microseconds; it tells more than requests/s when the machine is busy.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    rpcs_per_request: float
    cpu_us: float | None


@dataclass
class Row:
    """One contender at one number of connections, in all rounds."""

    contender: Contender
    connections: int
    samples: list[Sample] = field(default_factory=list)

    def median(self, figure: Callable[[Sample], float | None]) -> float | None:
        """Return the median of a figure over the rounds; None if it was not measured."""
        figures = [value for sample in self.samples if (value := figure(sample)) is not None]
        return median(figures) if figures else None


@dataclass(frozen=True, slots=True)
class RpcCount:
    """The RPCs that a start of the gateway's took, in each round at each number of connections."""

    contender: Contender
    of_rounds: tuple[float, ...]

    @property
    def reached(self) -> bool:
        """Whether it was one each time: what is started twice is a mistake, not only slow."""
        return set(self.of_rounds) == {1.0}


def rpc_counts(rows: list[Row]) -> Iterator[RpcCount]:
    """Return those of each contender in which the gateway starts operations."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.contender.server == GATEWAY and row.contender.job is START:
            found.setdefault(row.contender.key, []).append(row)
    for rows_of in found.values():
        counts = (sample.rpcs_per_request for row in rows_of for sample in row.samples)
        yield RpcCount(rows_of[0].contender, tuple(counts))


@dataclass(frozen=True, slots=True)
class Ratio:
    """A contender's requests/s over those of its bare counterpart, round by round."""

    contender: Contender
    connections: int
    of_rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return median(self.of_rounds)

    @property
    def reached(self) -> bool:
        """Whether the target is."""
        return self.median >= self.contender.target


def ratios(rows: list[Row]) -> Iterator[Ratio]:
    """Return the ratio of each row that has a bare counterpart."""
    by_place = {(row.contender.key, row.connections): row for row in rows}
    for row in rows:
        if row.contender.bare:
            bare = by_place[row.contender.bare, row.connections]
            pairs = zip(row.samples, bare.samples, strict=True)
            of_rounds = tuple(own.per_second / other.per_second for own, other in pairs)
            yield Ratio(row.contender, row.connections, of_rounds)


class Course:
    """Everything that must run for the contenders to be measured."""

    def __init__(
        self, backend: Program, loads: dict[str, Program], served: dict[str, Served]
    ) -> None:
        self._backend = backend
        self._loads = loads
        self._served = served

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator[Course]:
        """Start a backend, the contenders and the load generators, each a process."""
        async with AsyncExitStack() as stack:
            backend = await stack.enter_async_context(program("backend"))
            served: dict[str, Served] = {}
            for bare in BARE:
                started = program(bare, backend.served.address)
                served[bare] = (await stack.enter_async_context(started)).served
            serving = gateway("--backend", f"backend={backend.served.address}")
            served[GATEWAY] = await stack.enter_async_context(serving)
            load_http = await stack.enter_async_context(program("load_http"))
            load_grpc = await stack.enter_async_context(program("load_grpc"))
            served[DIRECT] = Served(backend.served.address, load_grpc.pid)
            loads = {"grpc": load_grpc, "rest": load_http, "mcp": load_http}
            yield Course(backend, loads, served)

    async def check(self) -> None:
        """Check one answer of each contender in full."""
        for contender in CONTENDERS:
            if contender.server != DIRECT:
                address, job = self._served[contender.server].address, contender.job
                await ask_once(address, contender.protocol, job.subject(0), job)

    async def measure(self, contender: Contender, connections: int, seconds: float) -> Sample:
        """Measure one contender once."""
        served = self._served[contender.server]
        calls, cpu = await self._calls(), cpu_seconds(served.pid)
        report = await self._loads[contender.protocol].ask(
            protocol=contender.protocol,
            job=contender.job.key,
            address=served.address,
            connections=connections,
            warm_up=WARM_UP,
            seconds=seconds,
        )
        answers = report["answers"]
        calls = await self._calls() - calls
        cpu = None if cpu is None else (cpu_seconds(served.pid) or 0.0) - cpu
        return Sample(
            report["per_second"],
            report["p50_ms"],
            report["p99_ms"],
            calls / answers,
            None if cpu is None else cpu / answers * 1e6,
        )

    async def _calls(self) -> int:
        return int((await self._backend.ask())["calls"])


async def measure_rates(
    rounds: int, seconds: float, connections: tuple[int, ...], tell: Callable[[str], None]
) -> list[Row]:
    """Measure every contender at every number of connections, `rounds` times."""
    rows = [Row(contender, number) for number in connections for contender in CONTENDERS]
    async with Course.open() as course:
        await course.check()
        for turn in range(rounds):
            tell(f"round {turn + 1} of {rounds}")
            # There and back again, so that none always follows the same other.
            for row in rows if turn % 2 == 0 else reversed(rows):
                row.samples.append(await course.measure(row.contender, row.connections, seconds))
        await course.check()
    return rows
