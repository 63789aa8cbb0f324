"""Makes the requests of a run, and reads and checks their answers.

Requests are plain bytes, and answers are found in a buffer, so REST and MCP cost the load generator
the same time. The load generator shares two cores with the servers that it measures. An HTTP
library would take more time than some of these servers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from lro_gateway.demo.v1.database_admin_pb2 import (
    BackupDatabaseMetadata,
    CreateDatabaseMetadata,
    Database,
)

_CREATED: Final = Timestamp(seconds=1_790_000_000)
_ENDED: Final = Timestamp(seconds=1_790_000_042)
_ROWS: Final = 10_000
PAGES_COPIED: Final = 1_176
"""The state of a running operation, unless the benchmark changes it."""
DURATION: Final = 600
"""Seconds that an operation lasts whose age the benchmark sets."""
_CREATION: Final = CreateDatabaseMetadata(
    create_time=_CREATED,
    end_time=_ENDED,
    progress_percent=100,
    phase=CreateDatabaseMetadata.INDEXING,
    rows_inserted=_ROWS,
    total_rows=_ROWS,
)
_VERSION: Final = "2026-07-28"
LEGACY: Final[Mapping[str, str]] = {
    "mcp_june": "2025-06-18",
    "mcp_november": "2025-11-25",
}
"""The revisions of MCP that begin with a handshake, by the protocol of a contender."""
_META: Final = "io.modelcontextprotocol/"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_LIMIT: Final = 10.0


class WrongAnswerError(Exception):
    """An answer is not the expected one; the text has the answer."""


def operation_name(number: int, collection: str = "databases") -> str:
    """Return the name of a running operation."""
    return f"{collection}/orders/operations/backup-{number:04}"


def running(name: str, pages_copied: int = PAGES_COPIED) -> Any:
    """Return a typical running operation, whose metadata has a type, times and progress."""
    metadata = BackupDatabaseMetadata(
        create_time=_CREATED, progress_percent=42, pages_copied=pages_copied, total_pages=2_800
    )
    operation = operations_pb2.Operation(name=name)
    operation.metadata.Pack(metadata)
    return operation


def created(database_id: str) -> Any:
    """Return an operation that has already ended, so that no start waits for its end."""
    name = f"databases/{database_id}"
    database = Database(
        name=name, state=Database.READY, row_count=_ROWS, size_bytes=1_884_160, update_time=_ENDED
    )
    operation = operations_pb2.Operation(name=f"{name}/operations/create", done=True)
    operation.metadata.Pack(_CREATION)
    operation.response.Pack(database)
    return operation


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of request, which a tool, a route and an RPC can each carry out.

    `subject` returns the name of the operation or the id of the database for the number of a
    connection. `arguments`, `operation` (the right answer) and `path` take the subject. If `verb`
    is POST, the arguments are the body.
    """

    key: str
    tool: str
    subject: Callable[[int], str]
    arguments: Callable[[str], dict[str, Any]]
    operation: Callable[[str], Any]
    verb: str
    path: Callable[[str], str]


GET: Final = Job(
    key="get",
    tool="get_operation",
    subject=operation_name,
    arguments=lambda name: {"name": name},
    operation=running,
    verb="GET",
    path=lambda name: f"/v1/{name}",
)
START: Final = Job(
    key="start",
    tool="create_database",
    subject=lambda number: f"orders-{number:04}",
    arguments=lambda database_id: {"databaseId": database_id, "rowCount": _ROWS},
    operation=created,
    verb="POST",
    path=lambda _database_id: "/v1/databases",
)
GET_ONE: Final = replace(GET, key="get_one", subject=lambda _number: operation_name(0))
"""All connections read the same operation, so the gateway can share one call among them."""
GET_STARTED: Final = replace(
    GET, key="get_started", subject=lambda number: START.operation(START.subject(number)).name
)
"""The operations that `START` has started."""
CANNED: Final = replace(GET_ONE, key="canned", tool="canned_operation")
"""The same operation, from a server that answers without a call of a backend."""
JOBS: Final[Mapping[str, Job]] = {
    job.key: job for job in (GET, START, GET_ONE, GET_STARTED, CANNED)
}


def request_of(protocol: str, address: str, job: Job, subject: str, token: str = "") -> bytes:
    """Return the HTTP request of a job, by its route (`rest`) or by its tool.

    The protocol of a tool is `mcp` or a key of `LEGACY`. The request has the token, if it is not
    empty.
    """
    request = _request_of(protocol, address, job, subject)
    if not token:
        return request
    line, _, rest = request.partition(b"\r\n")
    return b"%b\r\nAuthorization: Bearer %b\r\n%b" % (line, token.encode(), rest)


def _request_of(protocol: str, address: str, job: Job, subject: str) -> bytes:
    if protocol != "rest":
        params = {"name": job.tool, "arguments": job.arguments(subject)}
        if protocol in LEGACY:
            return _legacy_message(address, LEGACY[protocol], "tools/call", params)
        return mcp_message(address, "tools/call", params, f"Mcp-Name: {job.tool}\r\n")
    head = f"{job.verb} {job.path(subject)} HTTP/1.1\r\nHost: {address}\r\n"
    head = f"{head}Accept: application/json\r\n"
    return f"{head}\r\n".encode() if job.verb == "GET" else _with_body(head, job.arguments(subject))


def mcp_message(
    address: str,
    method: str,
    params: Mapping[str, Any],
    headers: str = "",
    *,
    extensions: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the HTTP request of an MCP message, in the form of MCP 2026-07-28.

    `extensions` are those that the client declares.
    """
    meta = {
        f"{_META}protocolVersion": _VERSION,
        f"{_META}clientInfo": {"name": "benchmark", "version": "1"},
        f"{_META}clientCapabilities": {"extensions": extensions} if extensions else {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return _with_body(f"{_mcp_head(address, _VERSION)}Mcp-Method: {method}\r\n{headers}", message)


def _legacy_message(address: str, version: str, method: str, params: Mapping[str, Any]) -> bytes:
    """Return the HTTP request of an MCP message, in the form of a revision with a handshake."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return _with_body(_mcp_head(address, version), message)


def _mcp_head(address: str, version: str) -> str:
    return (
        f"POST /mcp HTTP/1.1\r\nHost: {address}\r\n"
        "Accept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {version}\r\n"
    )


def _with_body(head: str, content: Mapping[str, Any]) -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    type_and_length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{head}{type_and_length}".encode() + body


class Answer(NamedTuple):
    """A complete HTTP answer."""

    status: int
    body: bytes


def find_answer(received: bytes | bytearray) -> Answer | None:
    """Return the answer in the received bytes, or None while it is incomplete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    status = int(head[9:12])
    start = end + 4
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if found:
        length = int(rest.split(b"\r\n", 1)[0])
        complete = len(received) >= start + length
        return Answer(status, bytes(received[start : start + length])) if complete else None
    if not received.endswith(_LAST_CHUNK):
        return None
    return Answer(status, _last_event(_joined(bytes(received[start:]))))


def _joined(chunks: bytes) -> bytes:
    """Return the content of a chunked body."""
    content = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        content += rest[:length]
        chunks = rest[length + 2 :] if length else b""
    return content


def _last_event(stream: bytes) -> bytes:
    """Return the data of the last event, which carries the result."""
    data = [line[5:].strip() for line in stream.splitlines() if line.startswith(b"data:")]
    return data[-1] if data else stream


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP connection for a sequence of requests."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @staticmethod
    @asynccontextmanager
    async def open(address: str) -> AsyncIterator[Exchange]:
        """Connect to the address; the end of the context closes the connection."""
        reader, writer = await asyncio.open_connection(*host_and_port(address))
        try:
            yield Exchange(reader, writer)
        finally:
            writer.close()

    async def ask(self, request: bytes, limit: float = _LIMIT) -> bytes:
        """Send a request and return the body; raise `WrongAnswerError` unless the status is 200.

        The answer must come within `limit` seconds.
        """
        async with asyncio.timeout(limit):
            self.writer.write(request)
            received = bytearray()
            while (answer := find_answer(received)) is None:
                data = await self.reader.read(65536)
                if not data:
                    raise WrongAnswerError(f"the connection closed after {bytes(received)!r}")
                received += data
        if answer.status != 200:
            raise WrongAnswerError(f"{answer.status} {answer.body.decode()}")
        return answer.body


async def ask_once(
    address: str, protocol: str, subject: str, job: Job = GET, token: str = ""
) -> None:
    """Do a job once; raise `WrongAnswerError` unless the answer is exactly its operation."""
    async with Exchange.open(address) as exchange:
        body = await exchange.ask(request_of(protocol, address, job, subject, token))
    answer = json.loads(body)
    forms = [answer] if protocol == "rest" else _forms_of_result(answer.get("result", {}))
    wanted = _with_done(MessageToDict(job.operation(subject)))
    if not forms or any(_with_done(form) != wanted for form in forms):
        raise WrongAnswerError(body.decode())


def _forms_of_result(result: Mapping[str, Any]) -> list[Any]:
    """Return the structured content and the text of a tool's result, or [] if one is missing."""
    texts = [block["text"] for block in result.get("content", ()) if block["type"] == "text"]
    structured = result.get("structuredContent")
    if result.get("isError") or not structured or not texts:
        return []
    return [structured, json.loads(texts[0])]


def _with_done(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ProtoJSON with `done`, which may be left out while it is false."""
    return {"done": False, **operation}


def host_and_port(address: str) -> tuple[str, int]:
    """Return the two parts of `host:port`."""
    host, _, port = address.rpartition(":")
    return host, int(port)
