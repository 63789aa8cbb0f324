"""What callers cost: the memory of their streams, and the time of what they may not see."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from lro_gateway.access.identity.static_tokens import new_token
from scripts.benchmark.processes import (
    HAS_PROC,
    SCRATCH,
    Process,
    ProcessError,
    gateway_with,
    program,
)
from scripts.benchmark.report import Part, Target, at_most, table
from scripts.benchmark.requests import (
    GET,
    START,
    WrongAnswerError,
    ask_once,
    host_and_port,
    mcp_message,
    operation_name,
)

STREAM_TARGET_KB: Final = 12.0
"""The memory of a principal with a stream. The same stream on bare uvicorn needs more than that."""
_AT_ONCE: Final = 50
_SETTLED: Final = 1.0
_RULES: Final = ({"allow": ["get", "list", "wait"], "names": ["shown/**"]},)
"""Rules that hide every operation of the benchmark's backend."""
_NOISE: Final = 0.02
"""The fraction of a median by which two medians of the same work may differ."""


_Request = Callable[..., bytes]
"""Returns the request of a stream for the address of a server, and for the `token` of a caller."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """The status of an answer, and the seconds that it took."""

    status: int
    seconds: float


async def measure_callers(streams: int, pairs: int) -> Part:
    """Measure `streams` streams of as many principals, and `pairs` of refused reads."""
    parts = [await _measure_streams(streams)]
    parts += [await _measure_ruled(pairs), await _measure_owned(pairs)]
    return _joined(parts)


def _joined(parts: Sequence[Part]) -> Part:
    document = {key: value for part in parts for key, value in part.document.items()}
    tables = [each for part in parts for each in part.tables]
    return Part({"callers": document}, tables, [each for part in parts for each in part.targets])


async def _measure_streams(streams: int) -> Part:
    """Measure the memory of the same number of streams on bare servers and on gateways."""
    if not HAS_PROC:
        return Part({"streams": None})
    shared = [_watching(_watch_path(1))] * streams
    own = [_watching(_watch_path(number)) for number in range(streams)]
    listening: list[_Request] = [_listen] * streams
    async with program("backend", "wait") as backend:
        bare = await _bare("sse", backend, [_watching("/")] * streams)
        bare_mcp = await _bare("mcp", backend, listening)
        rows = {"bare uvicorn": (bare, bare), "bare MCP server": (bare_mcp, bare_mcp)}
        rows["one operation"] = (await _identified(backend, shared), bare)
        rows["own operations"] = (await _identified(backend, own), bare)
        rows["one operation, MCP"] = (await _identified(backend, listening), bare_mcp)
    shown = table(
        f"Memory of {streams:,} principals with a stream",
        ("", "KB each", "beyond the bare server"),
        [(name, f"{kb:.1f}", f"{kb - floor:.1f}") for name, (kb, floor) in rows.items()],
    )
    measure = f"memory of {streams:,} principals with a stream"
    kb, note = rows["one operation"][0], f"bare uvicorn: {bare:.1f} KB"
    targets = [at_most(measure, STREAM_TARGET_KB, "KB each", kb, note, form=".1f")]
    found = {name: kb for name, (kb, _) in rows.items()}
    return Part({"streams_kb": found}, [shown], targets)


def _watch_path(number: int) -> str:
    return f"{GET.path(operation_name(number))}:watch"


def _watching(path: str) -> _Request:
    return partial(_get, path)


def _get(path: str, address: str, token: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {address}\r\n{_credentials(token)}\r\n".encode()


def _listen(address: str, token: str = "") -> bytes:
    """Return the request of a stream of MCP for the changes of one operation."""
    followed = {"resourceSubscriptions": [f"operation://backend/{operation_name(1)}"]}
    params = {"notifications": followed}
    return mcp_message(address, "subscriptions/listen", params, _credentials(token))


async def _bare(protocol: str, backend: Process, streams: Sequence[_Request]) -> float:
    async with program("bare_servers", protocol, backend.address) as bare:
        return await _growth(bare, streams)


async def _identified(backend: Process, streams: Sequence[_Request]) -> float:
    """Measure streams of a gateway, each of a caller of its own."""
    async with _identifying(backend, len(streams)) as (gateway, tokens):
        each = zip(streams, tokens, strict=True)
        return await _growth(gateway, [partial(ask, token=token) for ask, token in each])


@asynccontextmanager
async def _identifying(
    backend: Process, callers: int
) -> AsyncIterator[tuple[Process, Sequence[str]]]:
    """Run a gateway that has a static token for each caller; yields it and the tokens."""
    made = [new_token(f"user-{number}", tenant="acme") for number in range(callers)]
    limits = {"polls_per_second": 10_000, "max_concurrent_calls": 10_000}
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as directory:
        file = Path(directory) / "tokens.toml"
        file.write_text("".join(f"{entry.line}\n" for _, entry in made))
        stated = {"name": "backend", "target": backend.address, **limits}
        async with gateway_with(stated, auth={"tokens": str(file)}) as gateway:
            yield gateway, [token for token, _ in made]


async def _growth(server: Process, streams: Sequence[_Request]) -> float:
    """Return by how many kilobytes the memory of a server grows with each stream."""
    # A few streams import and keep what the first ones need.
    await _close(await _open(server, streams[:_AT_ONCE]))
    before = server.resident_mb()
    writers = await _open(server, streams)
    grown = server.resident_mb() - before
    await _close(writers)
    return grown * 1024 / len(streams)


async def _open(server: Process, streams: Sequence[_Request]) -> list[asyncio.StreamWriter]:
    """Open streams, and return when each has its first event."""
    writers: list[asyncio.StreamWriter] = []
    for begin in range(0, len(streams), _AT_ONCE):
        some = streams[begin : begin + _AT_ONCE]
        writers += await asyncio.gather(*(_stream(server.address, each) for each in some))
    await asyncio.sleep(_SETTLED)
    return writers


async def _stream(address: str, request: _Request) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection(*host_and_port(address))
    writer.write(request(address))
    while line := await reader.readline():
        if line.startswith(b"data:"):
            return writer
    raise ProcessError(f"{request(address)!r} got no event")


def _credentials(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n" if token else ""


async def _close(writers: Sequence[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(_SETTLED)


async def _measure_ruled(pairs: int) -> Part:
    """Measure refused reads of an operation that a rule of the policy hides."""
    async with (
        program("backend") as backend,
        gateway_with({"name": "backend", "target": backend.address}, rules=_RULES) as gateway,
    ):
        return await _measure_refused("by a rule", gateway, operation_name(1), pairs)


async def _measure_owned(pairs: int) -> Part:
    """Measure refused reads of an operation that another caller has started."""
    (alice, _), (eve, _) = made = [new_token(who, tenant=who) for who in ("alice", "eve")]
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as directory:
        file = Path(directory) / "tokens.toml"
        file.write_text("".join(f"{entry.line}\n" for _, entry in made))
        store = f"sqlite:///{directory}/store.sqlite3"
        async with program("backend", "knows") as backend:
            stated = {"name": "backend", "target": backend.address, "visibility": "owner"}
            auth = {"tokens": str(file)}
            async with gateway_with(stated, auth=auth, store=store) as gateway:
                subject = START.subject(1)
                await ask_once(gateway.address, "rest", subject, START, alice)
                name = START.operation(subject).name
                return await _measure_refused("by its owner", gateway, name, pairs, eve)


async def _measure_refused(
    by: str, gateway: Process, name: str, pairs: int, token: str = ""
) -> Part:
    """Measure the time of a hidden operation, and of two that are missing, in a random order.

    The difference of the two that are missing is the noise of the machine.
    """
    hidden = GET.path(name)
    paths = {"hidden": hidden, "missing": f"{hidden}-no", "missing too": f"{hidden}-on"}
    times: dict[str, list[float]] = {name: [] for name in paths}
    reader, writer = await asyncio.open_connection(*host_and_port(gateway.address))
    for _ in range(pairs):
        for kind in random.sample([*paths], len(paths)):
            answer = await _ask(reader, writer, gateway.address, paths[kind], token)
            if answer.status != 404:
                raise WrongAnswerError(f"{paths[kind]} has the status {answer.status}")
            times[kind].append(answer.seconds * 1e6)
    writer.transport.abort()
    medians = {name: median(values) for name, values in times.items()}
    difference = abs(medians["hidden"] - medians["missing"])
    noise = abs(medians["missing too"] - medians["missing"])
    allowed = max(2 * noise, _NOISE * medians["missing"])
    shown = table(
        f"Refused reads, median of {pairs:,}, hidden {by}",
        ("", "us"),
        [(name, f"{each:.1f}") for name, each in medians.items()],
    )
    measure = f"hidden {by} and missing, medians"
    spread = f"two that are missing: {noise:.1f} us"
    reached = difference <= allowed
    target = Target(measure, f"<= {allowed:.1f} us", f"{difference:.1f} us", spread, reached)
    return Part({f"refused_us, {by}": medians}, [shown], [target])


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    address: str,
    path: str,
    token: str = "",
) -> _Answer:
    request = _get(path, address, token)
    begin = time.perf_counter()
    writer.write(request)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in answer.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    await reader.readexactly(length)
    return _Answer(int(answer.split(b" ", 2)[1]), time.perf_counter() - begin)
