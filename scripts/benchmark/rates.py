"""How fast: contenders take turns in rounds, so that a drift of the machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from scripts.benchmark.exchange import ask_once
from scripts.benchmark.jobs import CANNED, GET, GET_ONE, START, Job
from scripts.benchmark.processes import Program, Served, gateway_with, program
from scripts.benchmark.usage import cpu_seconds

WARM_UP: Final = 0.15


@dataclass(frozen=True, slots=True)
class Contender:
    """What is measured: a job done by one server, with one gRPC call a request.

    `other` is the key of the contender that it is held against, `target` how near it is to come.
    With `crowd` it is measured at the most connections alone.
    """

    key: str
    title: str
    job: Job
    protocol: str
    server: str
    other: str = ""
    target: float = 0.0
    crowd: bool = False

    @property
    def kind(self) -> str:
        """What it is, as the others are held against it: direct, bare or canned."""
        return self.title.partition(" ")[0]


GATEWAY: Final = "gateway"
"""Each of its reads is a call to the backend, as each of the others' is."""
JOINING: Final = "joining gateway"
"""As it is unless told otherwise: reads of one operation at one time are one call."""
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
    Contender("grpc_one", "direct grpc.aio get, one", GET_ONE, "grpc", DIRECT, crowd=True),
    Contender(
        "rest_one", "gateway REST get, one", GET_ONE, "rest", JOINING, "grpc_one", 2.0, crowd=True
    ),
    Contender("canned_mcp", "canned MCP get, one", CANNED, "mcp", "bare_mcp", crowd=True),
    Contender(
        "mcp_one", "gateway MCP get, one", GET_ONE, "mcp", JOINING, "canned_mcp", 0.9, crowd=True
    ),
)
"""The last four get one operation that everybody asks for, the others each connection its own."""

MOST_RPCS_PER_SECOND: Final = 5.0
"""What one operation may cost its backend, however many ask for it."""


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
    rpcs_per_second: float
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
    """The RPCs that a request took, in each round at each number of connections."""

    contender: Contender
    of_rounds: tuple[float, ...]

    @property
    def reached(self) -> bool:
        """Whether it was one each time.

        What is started twice is a mistake, and a read that costs nothing is no measure of reads.
        """
        return set(self.of_rounds) == {1.0}


def rpc_counts(rows: list[Row]) -> Iterator[RpcCount]:
    """Return those of each contender in which the gateway may not join calls."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.contender.server == GATEWAY:
            found.setdefault(row.contender.key, []).append(row)
    for rows_of in found.values():
        counts = (sample.rpcs_per_request for row in rows_of for sample in row.samples)
        yield RpcCount(rows_of[0].contender, tuple(counts))


@dataclass(frozen=True, slots=True)
class RpcRate:
    """The RPCs/s that a contender cost the backend, in each round."""

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
        return self.median <= MOST_RPCS_PER_SECOND


def rpc_rates(rows: list[Row]) -> Iterator[RpcRate]:
    """Return that of each contender in which the gateway joins calls."""
    for row in rows:
        if row.contender.server == JOINING:
            of_rounds = tuple(sample.rpcs_per_second for sample in row.samples)
            yield RpcRate(row.contender, row.connections, of_rounds)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A contender's requests/s over those of its counterpart, round by round."""

    contender: Contender
    other: Contender
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
    """Return the ratio of each row that has a counterpart."""
    by_place = {(row.contender.key, row.connections): row for row in rows}
    for row in rows:
        if row.contender.other:
            other = by_place[row.contender.other, row.connections]
            pairs = zip(row.samples, other.samples, strict=True)
            of_rounds = tuple(own.per_second / its.per_second for own, its in pairs)
            yield Ratio(row.contender, other.contender, row.connections, of_rounds)


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
            target: dict[str, object] = {"name": "backend", "target": backend.served.address}
            for server, settings in ((GATEWAY, {"freshness": "0s"}), (JOINING, {})):
                serving = gateway_with({**target, **settings})
                served[server] = await stack.enter_async_context(serving)
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
        if contender.server == JOINING:
            # Else a round of half a second begins with a call of its own, and they are counted.
            await ask_once(served.address, contender.protocol, contender.job.subject(0))
        begin = time.perf_counter()
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
        elapsed = time.perf_counter() - begin
        cpu = None if cpu is None else (cpu_seconds(served.pid) or 0.0) - cpu
        return Sample(
            report["per_second"],
            report["p50_ms"],
            report["p99_ms"],
            calls / answers,
            calls / elapsed,
            None if cpu is None else cpu / answers * 1e6,
        )

    async def _calls(self) -> int:
        return int((await self._backend.ask())["calls"])


async def measure_rates(
    rounds: int, seconds: float, connections: tuple[int, ...], tell: Callable[[str], None]
) -> list[Row]:
    """Measure every contender at every number of connections, `rounds` times."""
    rows = [
        Row(contender, number)
        for number in connections
        for contender in CONTENDERS
        if number == max(connections) or not contender.crowd
    ]
    async with Course.open() as course:
        await course.check()
        for turn in range(rounds):
            tell(f"round {turn + 1} of {rounds}")
            # There and back again, so that none always follows the same other.
            for row in rows if turn % 2 == 0 else reversed(rows):
                row.samples.append(await course.measure(row.contender, row.connections, seconds))
        await course.check()
    return rows
