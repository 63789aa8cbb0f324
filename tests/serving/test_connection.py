"""What one connection may send and take, in front of a real process."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.serving.wires import HOST, LIVEZ, OPENAPI, Wire, exchange, limited

MCP = b"POST /mcp HTTP/1.1\r\n" + HOST
JSON = b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def memory(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def test_headers_are_refused_at_their_bound_while_they_arrive(tmp_path: Path) -> None:
    """Twenty clients that never end their headers cost no memory, and get their answer."""
    async with limited(tmp_path) as gateway:
        before = memory(gateway.process.pid)
        wires = [
            await Wire.open(gateway, b"GET /livez HTTP/1.1\r\nX: " + b"a" * 8_000_000)
            for _ in range(20)
        ]
        for wire in wires:
            status, reason, metadata = await wire.refusal()
            assert (status, reason) == (431, "HEADERS_TOO_LARGE")
            assert metadata == {"limit": "65536", "setting": "limits.max_header_bytes"}
            assert await wire.end() == b""
            wire.close()
        assert memory(gateway.process.pid) - before < 40_000_000
        await gateway.logged("refused 127.0.0.1: the headers of a request may have at most")


LIVE = b"GET /livez HTTP/1.1\r\n" + HOST
BROKEN = (
    LIVE + HOST + b"\r\n",
    b"GET http://evil.example/livez HTTP/1.1\r\n" + HOST + b"\r\n",
    MCP + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n1",
    MCP + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
    LIVE + b"X: a\r\n b\r\n\r\n",
    LIVE + b"X: a\0b\r\n\r\n",
    LIVE + b"X : a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 200,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /livez HTTP/2.0\r\n" + HOST + b"\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
)
LARGE = (
    (LIVE + b"X: " + b"a" * 2000 + b"\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
    (LIVE + b"X: 1\r\n" * 9 + b"\r\n", 431, "HEADERS_TOO_LARGE"),
    (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "TARGET_TOO_LARGE"),
)


async def test_a_request_that_breaks_a_rule_is_refused_with_a_log_line(tmp_path: Path) -> None:
    """The refusal has Google's form, and no traceback is logged."""
    async with limited(
        tmp_path, max_header_bytes=1024, max_headers=8, max_target_bytes=256
    ) as gateway:
        for sent, *expected in (*((each, 400, "BAD_REQUEST") for each in BROKEN), *LARGE):
            wire = await Wire.open(gateway, sent)
            assert list((await wire.refusal())[:2]) == expected, sent
            assert await wire.end() == b""
            # The next request on a connection is refused too, wherever its bytes are divided.
            for at in (0, 10, len(sent) // 2):
                wire = await Wire.open(gateway, LIVEZ + sent[:at])
                assert (await wire.answer())[0] == 200
                wire.writer.write(sent[at:])
                assert list((await wire.refusal())[:2]) == expected, sent
                assert await wire.end() == b""
        await gateway.logged("refused 127.0.0.1: ")
        assert (await exchange(gateway, LIVEZ))[0] == 200
        gateway.process.terminate()
        assert "Traceback" not in "".join(gateway.log) + (await gateway.ended())[1]


async def test_a_target_beyond_what_a_server_can_parse_is_refused_like_any_long_one(
    tmp_path: Path,
) -> None:
    """The client learns the bound, and is not told that it does not speak HTTP."""
    async with limited(tmp_path, max_header_bytes=256 * 1024) as gateway:
        for size in (40_000, 2**16 - 1, 2**16, 70_000, 200_000):
            wire = await Wire.open(
                gateway, b"GET /" + b"a" * size + b" HTTP/1.1\r\n" + HOST + b"\r\n"
            )
            status, reason, metadata = await wire.refusal()
            assert (status, reason) == (414, "TARGET_TOO_LARGE"), size
            assert metadata == {"limit": "32768", "setting": "limits.max_target_bytes"}
            wire.close()


async def test_bytes_that_are_no_request_are_refused_with_the_id_of_their_log_line(
    tmp_path: Path,
) -> None:
    """An operator finds the line by the id in the answer, as for each other request."""
    async with limited(tmp_path) as gateway:
        wire = await Wire.open(gateway, b"no request\r\n\r\n")
        found = re.search(rb"x-request-id: ([0-9a-f]{32})\r\n", await wire.end())
        assert found is not None
        assert "refused 127.0.0.1: " in await gateway.logged(f"x-request-id={found[1].decode()}")


async def test_a_client_that_leaves_within_a_body_costs_no_traceback(tmp_path: Path) -> None:
    """It is no fault of the gateway."""
    bodies = (
        b"Content-Length: 100\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    )
    paths = (b"/mcp", b"/v1/jobs/1:cancel", b"/v1/a.b.C/D", b"/nowhere")
    async with limited(tmp_path) as gateway:
        for path in paths:
            for body in bodies:
                request = b"POST " + path + b" HTTP/1.1\r\n" + HOST + JSON + body
                wire = await Wire.open(gateway, request)
                # The answer on another connection shows that the gateway has read the request.
                await exchange(gateway, LIVEZ)
                wire.close()
        gateway.process.terminate()
        assert "Traceback" not in "".join(gateway.log) + (await gateway.ended())[1]


@pytest.mark.parametrize(
    ("sent", "setting"),
    [
        (b"GET /livez HT", "limits.header_timeout"),
        (MCP + b"Content-Length: 5\r\n\r\n{", "limits.body_timeout"),
    ],
)
async def test_a_client_that_is_too_slow_is_refused(
    tmp_path: Path, sent: bytes, setting: str
) -> None:
    """The answer is a 408 that names the setting."""
    async with limited(tmp_path, header_timeout="1s", body_timeout="1s") as gateway:
        wire = await Wire.open(gateway, sent)
        status, reason, metadata = await wire.refusal()
        assert (status, reason) == (408, "REQUEST_TIMEOUT")
        assert metadata == {"limit": "1s", "setting": setting}
        assert await wire.end() == b""
        await gateway.logged("did not arrive within 1 s")


async def test_a_connection_without_a_request_is_closed(tmp_path: Path) -> None:
    """Before its first request a connection has the time for headers, and later the idle time."""
    async with limited(tmp_path, header_timeout="3s", idle_timeout="3s") as gateway:
        assert await (await Wire.open(gateway)).end() == b""
        wire = await Wire.open(gateway, LIVEZ)
        assert (await wire.answer())[0] == 200
        wire.writer.write(b"\r\n")
        assert b"HTTP/1.1 200" not in await wire.end()


async def test_a_client_that_never_reads_loses_its_connection(tmp_path: Path) -> None:
    """The log says so."""
    async with limited(tmp_path, send_timeout="1s", max_requests_per_connection=1000) as gateway:
        wire = await Wire.open(gateway)
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001
        for _ in range(100):
            wire.writer.write(
                OPENAPI.replace(b"/docs", b"/static-offline-docs/swagger-ui-bundle.js")
            )
        await gateway.logged("reads no answer; see limits.send_timeout")
        wire.close()


TOOLS = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'


async def test_a_client_of_mcp_that_reads_byte_by_byte_loses_its_connection(tmp_path: Path) -> None:
    """The system's buffer takes large parts at a time, so single bytes are no progress."""
    requests = (MCP + JSON + b"Content-Length: %d\r\n\r\n" % len(TOOLS) + TOOLS) * 900
    async with limited(tmp_path, send_timeout="1s", max_requests_per_connection=1000) as gateway:
        with socket.create_connection(("127.0.0.1", urlsplit(gateway.url).port)) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sending = asyncio.create_task(asyncio.to_thread(slow.sendall, requests))
            log = asyncio.create_task(gateway.logged("reads no answer; see limits.send_timeout"))
            while not (await asyncio.wait([log], timeout=0.05))[0]:
                with suppress(BlockingIOError):
                    slow.recv(1, socket.MSG_DONTWAIT)
            await asyncio.gather(sending, return_exceptions=True)


async def test_requests_beyond_the_bound_of_a_connection_are_refused_in_order(
    tmp_path: Path,
) -> None:
    """The client gets the answers of the first requests, then the refusal."""
    async with limited(tmp_path, max_requests_per_connection=3) as gateway:
        wire = await Wire.open(gateway, LIVEZ * 10)
        assert [(await wire.answer())[0] for _ in range(3)] == [200] * 3
        status, reason, metadata = await wire.refusal()
        assert (status, reason) == (429, "TOO_MANY_REQUESTS")
        assert metadata == {"limit": "3", "setting": "limits.max_requests_per_connection"}
        assert await wire.end() == b""


async def test_a_body_is_judged_before_the_client_sends_it(tmp_path: Path) -> None:
    """A client that waits for 100 Continue gets the refusal in its place."""
    expects = JSON + b"Expect: 100-continue\r\n"
    async with limited(tmp_path) as gateway:
        large = MCP + expects + b"Content-Length: 99999999\r\n\r\n"
        wire = await Wire.open(gateway, large)
        assert (await wire.refusal())[:2] == (413, "BODY_TOO_LARGE")
        assert await wire.end() == b""
        foreign = b"POST /mcp HTTP/1.1\r\nHost: evil.example\r\n" + expects
        wire = await Wire.open(gateway, foreign + b"Content-Length: 5\r\n\r\n")
        assert (await wire.refusal())[:2] == (403, "HOST_NOT_ALLOWED")
        assert await wire.end() == b""
        wire = await Wire.open(gateway, MCP + expects + b"Content-Length: %d\r\n\r\n" % len(PING))
        assert (await wire.answer())[0] == 100
        wire.writer.write(PING)
        assert (await wire.answer())[0] == 200
        wire.close()


async def test_an_offer_of_another_protocol_changes_nothing(tmp_path: Path) -> None:
    """Java's HTTP client offers HTTP/2 with each request, and sends a body all the same."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    bad = b'{"jsonrpc":"2.0","id":null,"method":"ping"}'
    head = MCP + JSON + offer + b"Content-Length: %d\r\n\r\n" % len(bad)
    async with limited(tmp_path) as gateway:
        wire = await Wire.open(gateway, head + bad)
        for _ in range(2):
            status, answer = await wire.answer()
            assert (status, answer["error"]["code"]) == (400, -32600)
            wire.writer.write(head)
            await exchange(gateway, LIVEZ)
            wire.writer.write(bad)
        status, answer = await wire.answer()
        assert "id must be" in answer["error"]["message"]
        wire.writer.write(LIVEZ)
        assert await wire.answer() == (200, {"status": "ok"})
        wire.close()
        gateway.process.terminate()
        assert "upgrade" not in "".join(gateway.log) + (await gateway.ended())[1]


async def test_many_clients_at_once_all_get_an_answer(tmp_path: Path) -> None:
    """The gateway accepts a burst."""
    async with limited(tmp_path) as gateway:
        found = await asyncio.gather(*(exchange(gateway, LIVEZ) for _ in range(200)))
        assert {status for status, _ in found} == {200}
