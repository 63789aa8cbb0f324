"""Serving over HTTP: how the gateway listens and stops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import httpx
import pytest
import uvicorn
from google.longrunning import operations_pb2
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from lro_gateway.config.models import GatewayConfig, ServerConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import bind, serve_http
from tests.contrary import Answer, ContraryBackend, answering
from tests.gateways import FACES, FaceName, RefusedError, face, serving
from tests.rest.exchanges import raw

RUNNING = operations_pb2.Operation(name="jobs/1")


@pytest.mark.parametrize("kind", FACES)
async def test_a_wait_fails_with_a_reason_when_the_gateway_stops(
    kind: FaceName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets UNAVAILABLE with a reason in the form of the face, long before the grace."""
    monkeypatch.setattr("lro_gateway.serving.http.SHUTDOWN_GRACE", 600)
    waiting = asyncio.Event()

    async def wait_forever(_request: object, _context: object) -> Answer:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable: nothing sets the event")

    handlers = {"GetOperation": answering(RUNNING), "WaitOperation": wait_forever}
    async with ContraryBackend.open(handlers) as backend:
        gateway = serving({"name": "b", "target": backend.target})
        url = await gateway.__aenter__()
        async with face(kind, url) as client:
            call = asyncio.create_task(client.wait("jobs/1"))
            await waiting.wait()
            async with asyncio.timeout(60):
                stopping = asyncio.create_task(gateway.__aexit__(None, None, None))
                with pytest.raises(RefusedError) as caught:
                    await call
        await stopping
    assert (caught.value.status, caught.value.reason) == ("UNAVAILABLE", "GATEWAY_SHUTTING_DOWN")


async def test_a_client_that_leaves_with_another_request_in_the_queue_ends_both() -> None:
    """The first request is a stream, which would go on without a reader."""
    waiting, left = asyncio.Event(), asyncio.Event()

    async def wait_forever(_request: object, _context: object) -> Answer:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError("unreachable: nothing sets the event")

    handlers = {"GetOperation": answering(RUNNING), "WaitOperation": wait_forever}
    async with (
        asyncio.timeout(60),
        ContraryBackend.open(handlers) as backend,
        serving({"name": "b", "target": backend.target, "poll_intervals": ["3600s"] * 3}) as url,
    ):
        address = httpx.URL(url)
        _, writer = await asyncio.open_connection(address.host, address.port)
        for path in ("/v1/jobs/1:watch", "/livez"):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address.host}\r\n\r\n".encode())
        await waiting.wait()
        writer.transport.abort()
        await left.wait()


async def test_uvicorn_still_notifies_only_the_latest_request_of_a_lost_connection() -> None:
    """If this fails, uvicorn notifies every request: remove `_Connection` of `serving.http`."""
    cycles: list[RequestResponseCycle] = []
    queued, lost = asyncio.Event(), asyncio.Event()

    class Connection(HttpToolsProtocol):
        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            cycles.append(self.cycle)
            if len(cycles) == 2:
                queued.set()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    state = ServerState()
    config = uvicorn.Config(app, log_config=None)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(config, state, {}), "127.0.0.1", 0
    )
    async with asyncio.timeout(60), server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        await queued.wait()
        writer.transport.abort()
        await lost.wait()
        assert [cycle.disconnected for cycle in cycles] == [False, True]
        # Without this, the first request would wait for ever.
        cycles[0].disconnected = True
        cycles[0].message_event.set()
        await asyncio.gather(*state.tasks)


@pytest.mark.parametrize("path", ["GET /v1/jobs/1", "POST /v1/jobs/1:wait"])
async def test_a_request_that_is_not_answered_within_the_grace_gets_the_reason(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the usual form, and its reason is GATEWAY_SHUTTING_DOWN."""
    monkeypatch.setattr("lro_gateway.serving.http.SHUTDOWN_GRACE", 1)
    called = asyncio.Event()

    async def hang(_request: object, _context: object) -> Answer:
        called.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable: nothing sets the event")

    async with ContraryBackend.open({"GetOperation": hang}) as backend, asyncio.timeout(60):
        served = serving({"name": "b", "target": backend.target, "deadline": "600s"})
        url = await served.__aenter__()
        method, _, resource = path.partition(" ")
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            call = asyncio.create_task(client.request(method, resource))
            await called.wait()
            await served.__aexit__(None, None, None)
            error = (await call).json()["error"]
    assert (error["status"], error["details"][0]["reason"]) == (
        "UNAVAILABLE",
        "GATEWAY_SHUTTING_DOWN",
    )


async def test_an_address_that_is_taken_raises_the_error_of_the_operating_system() -> None:
    """The second gateway on a port does not start, and the first one keeps serving."""
    async with serving() as url:
        port = httpx.URL(url).port
        with pytest.raises(OSError, match="in use"):
            async with serving(port=port):
                pytest.fail("it started")
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/livez")).json() == {"status": "ok"}


def config_of(*backends: Mapping[str, object], **server: object) -> GatewayConfig:
    """Return the configuration of a file with these tables."""
    return GatewayConfig.model_validate({"server": {"port": 0, **server}, "backends": backends})


async def test_the_gateway_listens_exactly_while_the_context_lasts() -> None:
    """A client can connect as soon as the context is entered, without a retry."""
    async with Gateway.open(config_of()) as gateway:
        async with serve_http(gateway) as server, httpx.AsyncClient() as client:
            url = f"http://{server.address}/livez"
            assert (await client.get(url)).status_code == 200
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(url)


async def test_the_gateway_listens_on_ipv6_loopback() -> None:
    """The address has brackets, as in a URL."""
    async with (
        Gateway.open(config_of(host="::1")) as gateway,
        serve_http(gateway) as server,
        httpx.AsyncClient() as client,
    ):
        assert server.address.startswith("[::1]:")
        assert (await client.get(f"http://{server.address}/livez")).status_code == 200


async def test_two_gateways_in_one_process_do_not_disturb_each_other() -> None:
    """Each gateway serves its own backends."""
    async with (
        ContraryBackend.open({}) as backend,
        Gateway.open(config_of({"name": "one", "target": backend.target})) as first,
        Gateway.open(config_of({"name": "two", "target": backend.target})) as second,
        serve_http(first) as one,
        serve_http(second) as two,
        httpx.AsyncClient() as client,
    ):
        names = [
            (await client.get(f"http://{server.address}/readyz")).json()["backends"][0]["name"]
            for server in (one, two)
        ]
    assert names == ["one", "two"]


async def test_answers_are_sent_without_delay() -> None:
    """Otherwise each answer on a connection that stays open could wait 40 ms for its body."""
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    with bind(ServerConfig(port=0)) as listener:
        server = await asyncio.start_server(
            lambda _reader, writer: accepted.set_result(writer), sock=listener
        )
        async with server:
            _, client = await asyncio.open_connection(*listener.getsockname())
            connection = (await accepted).get_extra_info("socket")
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            (await accepted).close()
            client.close()


async def test_blanks_around_the_value_of_a_header_are_no_part_of_it() -> None:
    """RFC 9110 says so, and some clients and proxies send them."""
    async with serving() as url:
        for host in (b"127.0.0.1 ", b" \t localhost\t ", b"127.0.0.1:80 "):
            request = b"GET /livez HTTP/1.1\r\nHost:" + host + b"\r\nConnection: close \r\n\r\n"
            head, body = await raw(url, request)
            assert (head.split(b"\r\n")[0], b"ok" in body) == (b"HTTP/1.1 200 OK", True)
