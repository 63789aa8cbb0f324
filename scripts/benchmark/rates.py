"""The requests per second of the gateway, and of the servers that it is compared with.

The contenders take turns in rounds, so that a drift of the machine affects all of them alike.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

from rich.table import Table

from scripts.benchmark.processes import HAS_PROC, SCRATCH, Process, gateway_with, program
from scripts.benchmark.report import Part, Target, at_most, spread, table
from scripts.benchmark.requests import CANNED, GET, GET_ONE, LEGACY, START, Job, ask_once
from scripts.benchmark.signing import signed

WARM_UP_SECONDS: Final = 0.15
MOST_RPCS_PER_SECOND: Final = 5.0
"""The most RPCs per second that reads of one operation may cause, from any number of readers."""
_STORE: Final = "LRO_GATEWAY_BENCH_STORE"
"""The environment variable with the URL of another store than a file of SQLite."""
_START_TARGET: Final = 0.5
"""The minimum ratio of requests/s. With it, a start takes twice the time of a bare start."""
_JOURNAL_TARGET: Final = 0.6

GATEWAY: Final = "gateway"
"""A gateway that calls the backend for each read, as the other servers do."""
JOINING: Final = "joining gateway"
"""A gateway with default settings, so that simultaneous reads of one operation share one call."""
SECURED: Final = "secured gateway"
"""The first gateway, if it also verifies the JWT of each request."""
RULED: Final = "ruled gateway"
"""The first gateway, if a hundred rules with conditions decide on each request."""
_RULES: Final = (
    *(
        {"deny": ["get"], "when": f"name.endsWith('/{number}') && caller.subject == 'nobody'"}
        for number in range(99)
    ),
    {"allow": ["*"], "when": "name.startsWith('') && !(verb == 'explain')"},
)
OWNING: Final = "owning gateway"
"""The secured gateway, if each operation also exists only for who started it."""
JOURNALING: Final = "journaling gateway"
"""A gateway that records starts in a file of SQLite."""
DIRECT: Final = "direct"
"""The load generator calls the backend itself, and its own processor time is measured."""
_BARE: Final = {"bare_rest": "rest", "bare_mcp": "mcp"}


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that does a job over a protocol.

    `other` is the key of the contender that it is compared with. `target` is the minimum
    ratio of their requests/s. If `crowd` is true, the benchmark measures this contender only at the
    largest number of connections. If `few` is true, it measures it only at the second largest.
    """

    key: str
    title: str
    job: Job
    protocol: str
    server: str
    other: str = ""
    target: float = 0.0
    crowd: bool = False
    few: bool = False


def _legacy_contenders() -> Iterator[Contender]:
    """Yield the contenders of each revision of MCP with a handshake, which cost the SDK more."""
    for protocol, version in LEGACY.items():
        jobs = (("one", CANNED, GET_ONE, JOINING), ("start", START, START, GATEWAY))
        for key, bare_job, job, server in jobs:
            bare, own = f"bare_{protocol}_{key}", f"{protocol}_{key}"
            bare_title, title = f"bare MCP {version} {key}", f"gateway MCP {version} {key}"
            yield Contender(bare, bare_title, bare_job, protocol, "bare_mcp", few=True)
            yield Contender(own, title, job, protocol, server, bare, 0.95, few=True)


CONTENDERS: Final = (
    Contender("grpc", "direct grpc.aio get", GET, "grpc", DIRECT),
    Contender("bare_rest", "bare FastAPI get", GET, "rest", "bare_rest"),
    Contender("rest", "gateway REST get", GET, "rest", GATEWAY, "bare_rest", 0.85),
    Contender("bare_mcp", "bare MCP get", GET, "mcp", "bare_mcp"),
    Contender("mcp", "gateway MCP get_operation", GET, "mcp", GATEWAY, "bare_mcp", 0.9),
    Contender("mcp_jwt", "JWT on: gateway MCP get", GET, "mcp", SECURED, "mcp", 0.92),
    Contender("mcp_owner", "owner, journal: gateway MCP get", GET, "mcp", OWNING, "mcp_jwt", 0.9),
    Contender("mcp_rules", "100 rules: gateway MCP get", GET, "mcp", RULED, "mcp", 0.95),
    Contender("grpc_start", "direct grpc.aio start", START, "grpc", DIRECT),
    Contender("bare_rest_start", "bare FastAPI start", START, "rest", "bare_rest"),
    Contender(
        *("rest_start", "gateway REST start", START, "rest", GATEWAY),
        *("bare_rest_start", _START_TARGET),
    ),
    Contender("bare_mcp_start", "bare MCP start", START, "mcp", "bare_mcp"),
    Contender(
        *("mcp_start", "gateway MCP start", START, "mcp", GATEWAY),
        *("bare_mcp_start", _START_TARGET),
    ),
    Contender(
        *("rest_start_journal", "gateway REST start, journal", START, "rest", JOURNALING),
        *("rest_start", _JOURNAL_TARGET),
    ),
    Contender("grpc_one", "direct grpc.aio get, one", GET_ONE, "grpc", DIRECT, crowd=True),
    Contender(
        "rest_one", "gateway REST get, one", GET_ONE, "rest", JOINING, "grpc_one", 2.0, crowd=True
    ),
    Contender("canned_mcp", "canned MCP get, one", CANNED, "mcp", "bare_mcp", crowd=True),
    Contender(
        "mcp_one", "gateway MCP get, one", GET_ONE, "mcp", JOINING, "canned_mcp", 0.9, crowd=True
    ),
    *_legacy_contenders(),
)
"""In the contenders whose titles end in `one` all connections read one operation.

In the other contenders each connection reads or starts an operation of its own.
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one contender in one round.

    RPCs are counted at the backend. `cpu_us` is the processor time that the contender's process
    used for each request, in microseconds. It is None if the system has no /proc. On a busy machine
    it is more reliable than requests/s.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    rpcs_per_request: float
    rpcs_per_second: float
    cpu_us: float | None


_FIGURES: Final = {
    "p50_ms": ("p50 ms", ".2f"),
    "p99_ms": ("p99 ms", ".2f"),
    "per_second": ("req/s", ",.0f"),
    "cpu_us": ("CPU us", ",.0f"),
    "rpcs_per_request": ("RPCs", ".2f"),
}
"""The heading and the format of each figure of a `Sample` that the table shows."""


@dataclass
class Row:
    """The samples of one contender at one number of connections, one for each round."""

    contender: Contender
    connections: int
    other: Row | None
    samples: list[Sample] = field(default_factory=list)

    def each(self, figure: str) -> list[float]:
        """Return one figure of each round; rounds that did not measure it are left out."""
        values = [getattr(sample, figure) for sample in self.samples]
        return [value for value in values if value is not None]

    def median(self, figure: str) -> float | None:
        """Return the median of a figure; None if it was not measured."""
        values = self.each(figure)
        return median(values) if values else None

    def ratios(self) -> list[float]:
        """Return the ratio of requests/s to those of the other contender, for each round.

        The list is empty if there is no other contender.
        """
        others = self.other.each("per_second") if self.other else []
        return [own / its for own, its in zip(self.each("per_second"), others, strict=False)]

    def cpu_ratios(self) -> list[float]:
        """Return what `ratios` would be if the processor had no other work."""
        others = self.other.each("cpu_us") if self.other else []
        return [its / own for own, its in zip(self.each("cpu_us"), others, strict=False)]


@dataclass(frozen=True, slots=True)
class Course:
    """The processes that run while the contenders are measured."""

    backend: Process
    servers: dict[str, Process]
    loads: dict[str, Process]
    tokens: dict[str, str]

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator[Course]:
        """Run the backend, the contenders and the load generators, each in its own process."""
        async with AsyncExitStack() as stack:
            start = stack.enter_async_context
            backend = await start(program("backend"))
            servers = {DIRECT: backend}
            for name, protocol in _BARE.items():
                servers[name] = await start(program("bare_servers", protocol, backend.address))
            configured = {"name": "backend", "target": backend.address}
            servers[GATEWAY] = await start(gateway_with({**configured, "freshness": "0s"}))
            servers[JOINING] = await start(gateway_with(configured))
            made = stack.enter_context(signed())
            servers[SECURED] = await start(
                gateway_with({**configured, "freshness": "0s"}, issuers=[made.issuer])
            )
            servers[RULED] = await start(
                gateway_with({**configured, "freshness": "0s"}, rules=_RULES)
            )
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix=SCRATCH))
            url = os.environ.get(_STORE) or f"sqlite:///{directory}/store.sqlite3"
            fresh = {**configured, "freshness": "0s"}
            servers[JOURNALING] = await start(gateway_with(fresh, store=url))
            owned = {**fresh, "visibility": "owner"}
            file = f"sqlite:///{directory}/owners.sqlite3"
            servers[OWNING] = await start(gateway_with(owned, issuers=[made.issuer], store=file))
            http, grpc = await start(program("load")), await start(program("load"))
            tokens = {SECURED: made.token, OWNING: made.token}
            by_http = dict.fromkeys(("rest", "mcp", *LEGACY), http)
            yield Course(backend, servers, {**by_http, "grpc": grpc}, tokens)

    async def check(self) -> None:
        """Check one whole answer of each contender; the load generator checks the direct calls."""
        for contender in CONTENDERS:
            if contender.server != DIRECT:
                await self._ask(contender)

    async def _ask(self, contender: Contender) -> None:
        address, job = self.servers[contender.server].address, contender.job
        token = self.tokens.get(contender.server, "")
        await ask_once(address, contender.protocol, job.subject(0), job, token)

    async def measure(self, contender: Contender, connections: int, seconds: float) -> Sample:
        """Measure one contender once."""
        server, load = self.servers[contender.server], self.loads[contender.protocol]
        measured = load if contender.server == DIRECT else server
        if contender.server == JOINING:
            # The first read after a pause makes an RPC of its own, which would distort the figures
            # of a short round. So this read comes before the measurement.
            await self._ask(contender)
        begin = time.perf_counter()
        calls, cpu = await self._calls(), measured.cpu_seconds() if HAS_PROC else None
        report = await load.ask(
            protocol=contender.protocol,
            job=contender.job.key,
            address=server.address,
            token=self.tokens.get(contender.server, ""),
            connections=connections,
            warm_up=WARM_UP_SECONDS,
            seconds=seconds,
        )
        answers = report["answers"]
        calls = await self._calls() - calls
        elapsed = time.perf_counter() - begin
        return Sample(
            report["per_second"],
            report["p50_ms"],
            report["p99_ms"],
            calls / answers,
            calls / elapsed,
            None if cpu is None else (measured.cpu_seconds() - cpu) / answers * 1e6,
        )

    async def _calls(self) -> int:
        return int((await self.backend.ask())["calls"])


async def measure_rates(
    rounds: int, seconds: float, connections: tuple[int, ...], report: Callable[[str], None]
) -> Part:
    """Measure every contender at every number of connections, `rounds` times.

    `report` gets the name of each round.
    """
    rows = _rows(connections)
    async with Course.open() as course:
        await course.check()
        for turn in range(rounds):
            report(f"round {turn + 1} of {rounds}")
            # The order alternates, so that no contender always follows the same other contender.
            for row in rows if turn % 2 == 0 else reversed(rows):
                row.samples.append(await course.measure(row.contender, row.connections, seconds))
        await course.check()
    document = {
        "rates": [_row_document(row) for row in rows],
        "ratios": [_ratio_document(row) for row in rows if row.other],
    }
    return Part(document, [_table(rows)], [*_ratios(rows), *_rpcs(rows), *_rpc_rates(rows)])


def _rows(connections: tuple[int, ...]) -> list[Row]:
    rows: dict[tuple[str, int], Row] = {}
    *_, few, crowd = sorted(connections)
    for number in connections:
        for contender in CONTENDERS:
            if (number == crowd or not contender.crowd) and (number == few or not contender.few):
                other = rows.get((contender.other, number))
                rows[contender.key, number] = Row(contender, number, other)
    return list(rows.values())


def _ratios(rows: list[Row]) -> Iterator[Target]:
    for row in rows:
        if row.other:
            ratios, least = row.ratios(), row.contender.target
            # The first word of a title is the kind of contender, such as direct or bare.
            kind, middle = row.other.contender.title.partition(" ")[0], median(ratios)
            name = f"{row.contender.title} / {kind}, requests/s at {row.connections}"
            cpu = row.cpu_ratios()
            shown = f"{spread(ratios)}, of CPU {_middle(cpu)}" if cpu else spread(ratios)
            yield Target(name, f">= {least:.2f}", f"{middle:.2f}", shown, middle >= least)


def _rpcs(rows: list[Row]) -> Iterator[Target]:
    """Yield a target of one RPC for each request, in each round and at each number of connections.

    More RPCs mean that a start was made twice. Fewer mean that some reads called no backend.
    """
    for contender in CONTENDERS:
        if contender.server == GATEWAY:
            own = (row for row in rows if row.contender is contender)
            counts = [count for row in own for count in row.each("rpcs_per_request")]
            name, always_one = f"{contender.title}, RPCs at the backend each", set(counts) == {1.0}
            yield Target(name, "= 1", f"{median(counts):.2f}", spread(counts), always_one)


def _rpc_rates(rows: list[Row]) -> Iterator[Target]:
    for row in rows:
        if row.contender.server == JOINING:
            rates = row.each("rpcs_per_second")
            name = f"{row.contender.title}, RPCs/s at the backend at {row.connections}"
            yield at_most(name, MOST_RPCS_PER_SECOND, "", median(rates), spread(rates))


def _table(rows: list[Row]) -> Table:
    headings = ("", "conns", *(each for each, _ in _FIGURES.values()), "ratio", "of CPU")
    shown = table("Per request; medians of the rounds", headings)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        figures = ((row.median(figure), form) for figure, (_, form) in _FIGURES.items())
        shown.add_row(
            row.contender.title,
            str(row.connections),
            *("" if value is None else format(value, form) for value, form in figures),
            *(_middle(ratios) for ratios in (row.ratios(), row.cpu_ratios())),
            end_section=following is not None and following.connections != row.connections,
        )
    return shown


def _middle(ratios: list[float]) -> str:
    return f"{median(ratios):.2f}" if ratios else ""


def _row_document(row: Row) -> dict[str, Any]:
    return {
        "contender": row.contender.key,
        "title": row.contender.title,
        "connections": row.connections,
        **{figure: row.median(figure) for figure in _FIGURES},
        "rounds": [asdict(sample) for sample in row.samples],
    }


def _ratio_document(row: Row) -> dict[str, Any]:
    keys = {"contender": row.contender.key, "other": row.contender.other}
    ratios, cpu = row.ratios(), row.cpu_ratios()
    found = {"median": median(ratios), "rounds": ratios, "cpu_rounds": cpu}
    return {**keys, "connections": row.connections, **found}
