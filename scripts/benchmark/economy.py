"""What a model pays for the gateway: the bytes and tokens of its tools and of its answers.

A token is counted as four bytes of JSON. Tokenizers differ from model to model, and most of them
must be downloaded.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from lro_gateway.demo.v1 import database_admin_pb2
from scripts.benchmark.processes import SCRATCH, Process, gateway_with, program
from scripts.benchmark.report import Part, Target, table
from scripts.benchmark.requests import (
    DURATION,
    Exchange,
    WrongAnswerError,
    mcp_message,
    operation_name,
)

BYTES_OF_A_TOKEN: Final = 4
GOOGLEAPIS: Final = Path(".venv/googleapis/all.binpb")
"""All published files of googleapis, which `scripts/setup --tests` compiles."""
CATALOGS: Final[Mapping[str, tuple[str, int]]] = {
    "demo": ("lro_gateway.demo.v1", 800),
    "Spanner admin": ("google.spanner.admin", 7_000),
    "Dataproc": ("google.cloud.dataproc.v1", 3_000),
    "googleapis": ("google", 3_000),
}
"""The package of each catalog, and the most tokens that its tools should cost."""
INPUTS: Final = {"demo": 3_747 // 2, "Spanner admin": 26_852 // 2}
"""The most bytes that the input schemas of a catalog should have: half of what they once had."""
WAITED: Final = 50
"""Seconds for which one call of wait_operation waits by default."""
WAYS: Final = {
    "get_operation as advised": 2_500,
    "get_operation in full": 2_500,
    "wait_operation as advised": 1_000,
    "wait_operation as a task": 185,
}
"""The most tokens that each way to follow an operation for ten minutes should cost."""
FIRST_LIST: Final = 1.5
"""The most seconds that the first list of any catalog should take."""
RESIDENT: Final = 350
"""The most memory in MB of 2**20 bytes that a gateway should take once all methods are known."""
_TASKS: Final = "io.modelcontextprotocol/tasks"
_ADVICE: Final = re.compile(r'poll again in (\d+) s(?:, with fields "([^"]+)")?')


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tools that one list shows: how many, what a model sees of them, and the whole answer.

    `input_bytes` are those of the input schemas. `seconds` is the time of the first list, and
    `resident_mb` the gateway's memory after it.
    """

    name: str
    tools: int
    seen_bytes: int
    input_bytes: int
    all_bytes: int
    seconds: float
    searched: float
    resident_mb: float

    @property
    def tokens(self) -> int:
        """About how many tokens a model reads."""
        return self.seen_bytes // BYTES_OF_A_TOKEN


@dataclass(frozen=True, slots=True)
class Way:
    """One way to follow an operation for ten minutes: its calls, and the bytes of the answers."""

    name: str
    calls: int
    seen_bytes: int

    @property
    def tokens(self) -> int:
        """About how many tokens a model reads."""
        return self.seen_bytes // BYTES_OF_A_TOKEN


async def measure_economy() -> Part:
    """Measure the tools of each catalog, and each way to follow an operation."""
    catalogs = [
        await measure_catalog(name) for name in CATALOGS if name == "demo" or GOOGLEAPIS.exists()
    ]
    ways = await measure_ways()
    document = {"catalogs": [asdict(each) for each in catalogs], "ways": [asdict(w) for w in ways]}
    return Part(document, [_catalog_table(catalogs), _way_table(ways)], _targets(catalogs, ways))


async def measure_catalog(name: str) -> Catalog:
    """Measure the tools of one of `CATALOGS`. All but the demo's need `GOOGLEAPIS`."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as directory:
        file = Path(directory, "catalog.binpb")
        _write_descriptors(name, file)
        return await _catalog(name, file)


def _write_descriptors(name: str, path: Path) -> None:
    own = FileDescriptorProto()
    database_admin_pb2.DESCRIPTOR.CopyToProto(own)
    files = {}
    if GOOGLEAPIS.exists():
        published = FileDescriptorSet.FromString(GOOGLEAPIS.read_bytes())
        files = {each.name: each for each in published.file}
    files[own.name] = own
    package, _ = CATALOGS[name]
    path.write_bytes(FileDescriptorSet(file=_of_package(files, package)).SerializeToString())


def _of_package(
    files: Mapping[str, FileDescriptorProto], package: str
) -> Iterable[FileDescriptorProto]:
    """Return the files of a package and of its subpackages, each after the files it imports."""
    found: dict[str, FileDescriptorProto] = {}

    def add(file: FileDescriptorProto) -> None:
        if file.name not in found:
            for imported in file.dependency:
                if imported in files:
                    add(files[imported])
            found[file.name] = file

    for file in files.values():
        if f"{file.package}.".startswith(f"{package}."):
            add(file)
    return found.values()


async def _catalog(name: str, descriptors: Path) -> Catalog:
    # The backend need not run, because the file has all that a list of tools needs.
    configured = {
        "name": "b",
        "target": "127.0.0.1:1",
        "descriptors": [str(descriptors)],
        "max_services": 100_000,
        "max_methods": 100_000,
        "max_descriptor_files": 100_000,
        "max_descriptor_bytes": 2**30,
        "discovery_wait": "120s",
    }
    # The store adds a tool, and a gateway has one unless its configuration says otherwise.
    store = f"sqlite:///{descriptors.parent}/store.sqlite3"
    async with gateway_with(configured, store=store) as running:
        begin = time.perf_counter()
        pages = [page async for page in _pages(running.address)]
        seconds = time.perf_counter() - begin
        tools = [tool for page in pages for tool in orjson.loads(page)["result"]["tools"]]
        seen = sum(
            len(orjson.dumps([tool["name"], tool.get("description", ""), tool["inputSchema"]]))
            for tool in tools
        )
        inputs = sum(len(orjson.dumps(tool["inputSchema"])) for tool in tools)
        size = sum(map(len, pages))
        begin = time.perf_counter()
        await _answered(running.address, "search_methods", {"query": "create"})
        searched = time.perf_counter() - begin
        memory = running.resident_mb()
        return Catalog(name, len(tools), seen, inputs, size, seconds, searched, memory)


async def _pages(address: str) -> Any:
    """Yield each page of tools/list."""
    async with Exchange.open(address) as exchange:
        cursor: str | None = ""
        while cursor is not None:
            params = {"cursor": cursor} if cursor else {}
            body = await exchange.ask(mcp_message(address, "tools/list", params), limit=120)
            yield body
            cursor = orjson.loads(body)["result"].get("nextCursor")


async def measure_ways() -> list[Way]:
    """Measure each way to follow an operation for ten minutes."""
    async with program("backend", "ages") as backend, _gateway(backend.address) as one:
        return [
            await _polling(one.address, "get_operation as advised"),
            await _polling(one.address, "get_operation in full", takes_fields=False),
            await _waiting(one.address),
            await _task(one.address, backend),
        ]


async def _polling(address: str, way: str, *, takes_fields: bool = True) -> Way:
    """Read the operation again as soon as each answer advises, until it is done.

    If it `takes_fields`, the later reads select the fields that an answer advises.
    """
    calls, size, age = 0, 0, 0
    fields: dict[str, str] = {}
    while True:
        text = await _seen(address, "get_operation", {"name": _aged(age), **fields})
        calls, size = calls + 1, size + len(text.encode())
        if (advised := _ADVICE.search(text)) is None:
            return Way(way, calls, size)
        age += int(advised[1])
        if takes_fields and advised[2]:
            fields = {"fields": advised[2]}


async def _waiting(address: str) -> Way:
    """Wait as advised until the operation is done. Each wait here is short, as if it ended."""
    calls, size, age = 0, 0, 0
    fields: dict[str, str] = {}
    while True:
        age = min(age + WAITED, DURATION)
        arguments = {"name": _aged(age), "timeout": "0.01s", **fields}
        text = await _seen(address, "wait_operation", arguments)
        calls, size = calls + 1, size + len(text.encode())
        if age == DURATION:
            return Way("wait_operation as advised", calls, size)
        if (advised := _ADVICE.search(text)) is not None and advised[2]:
            fields = {"fields": advised[2]}


async def _task(address: str, backend: Process) -> Way:
    """Follow the operation as a task. A model sees only the result, because the client polls."""

    async def ask(method: str, subject: str, **params: Any) -> Any:
        headers = f"Mcp-Name: {subject}\r\n"
        async with Exchange.open(address) as exchange:
            body = await exchange.ask(
                mcp_message(address, method, params, headers, extensions={_TASKS: {}})
            )
        return orjson.loads(body)["result"]

    tool = "wait_operation"
    task = await ask("tools/call", tool, name=tool, arguments={"name": operation_name(0)})
    await backend.ask(change=True)
    ended = await ask("tasks/get", task["taskId"], taskId=task["taskId"])
    return Way(f"{tool} as a task", 1, len(_texts(ended["result"]).encode()))


def _gateway(target: str) -> Any:
    return gateway_with({"name": "b", "target": target, "freshness": "0s"})


def _aged(age: int) -> str:
    """Return the name of the operation, which the backend answers as it is at this age."""
    return f"{operation_name(0)}@{age}"


async def _seen(address: str, tool: str, arguments: Mapping[str, Any]) -> str:
    """Return what a model sees of the answer of a tool: its texts."""
    return _texts(await _answered(address, tool, arguments))


async def _answered(address: str, tool: str, arguments: Mapping[str, Any]) -> Any:
    """Return the result of a tool. Raises `WrongAnswerError` if the call fails."""
    async with Exchange.open(address) as exchange:
        params = {"name": tool, "arguments": arguments}
        body = await exchange.ask(
            mcp_message(address, "tools/call", params, f"Mcp-Name: {tool}\r\n"), limit=120
        )
    result = orjson.loads(body).get("result", {})
    if result.get("isError") or not result.get("content"):
        raise WrongAnswerError(body.decode())
    return result


def _texts(result: Mapping[str, Any]) -> str:
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")


def _catalog_table(catalogs: Iterable[Catalog]) -> Any:
    headings = (
        "",
        "tools",
        "tokens seen",
        "bytes of inputs",
        "kB in all",
        "first list, s",
        "first search, s",
        "MB",
    )
    return table(
        "The tools, as the first tools/list shows them",
        headings,
        [
            (
                each.name,
                f"{each.tools:,}",
                f"{each.tokens:,}",
                f"{each.input_bytes:,}",
                f"{each.all_bytes / 1024:,.0f}",
                f"{each.seconds:.2f}",
                f"{each.searched:.2f}",
                f"{each.resident_mb:.0f}",
            )
            for each in catalogs
        ],
    )


def _way_table(ways: Iterable[Way]) -> Any:
    rows = [(each.name, f"{each.calls:,}", f"{each.tokens:,}") for each in ways]
    return table("Following one operation for ten minutes", ("", "calls", "tokens seen"), rows)


def _targets(catalogs: Sequence[Catalog], ways: Iterable[Way]) -> list[Target]:
    limits = {name: most for name, (_, most) in CATALOGS.items()}
    figures = [(f"tools of {each.name}", each.tokens, limits[each.name]) for each in catalogs]
    figures += [(each.name, each.tokens, WAYS[each.name]) for each in ways]
    rows = [(f"{name}, tokens", tokens, most) for name, tokens, most in figures]
    rows += [
        (f"inputs of {each.name}, bytes", each.input_bytes, INPUTS[each.name])
        for each in catalogs
        if each.name in INPUTS
    ]
    targets = [
        Target(name, f"<= {most:,}", f"{measured:,}", "", measured <= most)
        for name, measured, most in rows
    ]
    if catalogs:
        first = max(each.seconds for each in catalogs)
        memory = max(each.resident_mb for each in catalogs)
        targets += [
            Target("first list, s", f"<= {FIRST_LIST}", f"{first:.2f}", "", first <= FIRST_LIST),
            Target("memory, MB", f"<= {RESIDENT}", f"{memory:.0f}", "", memory <= RESIDENT),
        ]
    return targets
