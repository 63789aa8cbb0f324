"""The HTTP client of deliveries, against receivers that misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lro_gateway.deliveries.addresses import AddressFilter, parse_address
from lro_gateway.deliveries.egress import Answer, Egress, EgressError
from tests.certificates import Authority
from tests.deliveries.receiver import Receiver, answering, closing, hanging, receiving

LOOPBACK = AddressFilter([parse_address("127.0.0.1")])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority for the module."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def egress(addresses: AddressFilter, ca: Path | None = None) -> AsyncIterator[Egress]:
    """Open a client."""
    opened = Egress(addresses, ca=ca)
    try:
        yield opened
    finally:
        await opened.close()


async def kind_of(client: Egress, url: str, deadline: float = 10.0) -> str:
    """Return the kind of error of a request."""
    with pytest.raises(EgressError) as caught:
        await client.post(url, {}, b"{}", deadline=deadline)
    return caught.value.kind


async def test_a_request_reaches_an_https_receiver(authority: Authority) -> None:
    """The receiver gets the body and the headers, and the answer has its own."""
    identity = authority.issue("receiver")
    async with (
        receiving(answering(202, b"ok", Retry_After="7"), identity) as receiver,
        egress(LOOPBACK, authority.file) as client,
    ):
        answer = await client.post(receiver.url, {"x-one": "1"}, b"body", deadline=10)
        assert (answer.status, answer.body, answer.headers["retry-after"]) == (202, b"ok", "7")
        (request,) = receiver.received
        assert (request.path, request.headers["x-one"], request.body) == ("/hook", "1", b"body")
        assert request.headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_an_unknown_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    """The receiver gets nothing."""
    other = Authority(tmp_path, "other")
    async with (
        receiving(answering(200), authority.issue("receiver")) as receiver,
        egress(LOOPBACK, other.file) as client,
    ):
        assert await kind_of(client, receiver.url) == "tls_error"
        assert receiver.received == []


async def test_the_authorities_of_the_system_are_read_for_the_first_request(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway without webhooks does not need them. Requests that come together share them."""
    identity = authority.issue("receiver")
    async with receiving(answering(200), identity) as receiver, egress(LOOPBACK) as client:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        requests = (client.post(receiver.url, {}, b"{}", deadline=10) for _ in range(3))
        assert [each.status for each in await asyncio.gather(*requests)] == [200, 200, 200]
        monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
        async with egress(LOOPBACK) as other:
            assert await kind_of(other, receiver.url) == "tls_error"


async def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    """The text names the file."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(ValueError, match=r"ca\.pem is no file of certificates"):
        Egress(LOOPBACK, ca=file)


async def test_a_certificate_of_another_host_is_refused(authority: Authority) -> None:
    """The name in the URL is checked although the connection goes to a checked address."""
    async with (
        receiving(answering(200), authority.issue("elsewhere", "elsewhere.example")) as receiver,
        egress(LOOPBACK, authority.file) as client,
    ):
        assert await kind_of(client, receiver.url) == "tls_error"


async def test_a_redirect_is_an_answer() -> None:
    """The client does not follow it, not even to an allowed address."""
    async with receiving(answering(200)) as other:
        redirect = answering(302, Location=other.url)
        async with receiving(redirect) as receiver, egress(LOOPBACK) as client:
            answer = await client.post(receiver.url, {}, b"{}", deadline=10)
            assert (answer.status, len(receiver.received), other.received) == (302, 1, [])


async def test_a_receiver_that_hangs_ends_with_the_deadline() -> None:
    """The connection closes."""
    async with receiving(hanging) as receiver, egress(LOOPBACK) as client:
        assert await kind_of(client, receiver.url, 0.2) == "timeout"


async def test_a_receiver_that_closes_half_way_is_an_error() -> None:
    """Nobody knows whether it has taken the message."""
    async with receiving(closing) as receiver, egress(LOOPBACK) as client:
        assert await kind_of(client, receiver.url) == "protocol_error"


async def test_a_large_answer_is_cut() -> None:
    """The rest is not read."""
    async with (
        receiving(answering(200, b"x" * 10_000_000)) as receiver,
        egress(LOOPBACK) as client,
    ):
        answer = await client.post(receiver.url, {}, b"{}", deadline=10)
        assert answer == Answer(200, {"content-length": "10000000"}, b"x" * 16384)


async def test_a_receiver_that_is_away_refuses_the_connection() -> None:
    """The error has nothing of the system's own text."""
    async with receiving(answering(200)) as receiver:
        url = receiver.url
    async with egress(LOOPBACK) as client:
        assert await kind_of(client, url) == "connection_refused"


async def test_no_request_goes_to_an_address_that_is_not_public() -> None:
    """Loopback is refused like any other, and so is a name that resolves to it."""
    async with receiving(answering(200)) as receiver, egress(AddressFilter()) as client:
        assert await kind_of(client, receiver.url) == "refused_address"
        assert await kind_of(client, f"http://localhost:{receiver.port}/") == "refused_address"
        assert receiver.connections == 0


def _resolving(*answers: list[str]) -> Any:
    """Return a resolver that gives one answer after another, and the last one for ever."""
    rest = list(answers)

    def resolve(_host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = rest.pop(0) if len(rest) > 1 else rest[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    return resolve


async def test_one_private_address_refuses_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a public and a private address could reach the private one."""
    async with receiving(answering(200)) as receiver, egress(LOOPBACK) as client:
        monkeypatch.setattr(socket, "getaddrinfo", _resolving(["127.0.0.1", "10.0.0.1"]))
        assert await kind_of(client, f"http://hooks.example:{receiver.port}/") == "refused_address"
        assert receiver.connections == 0


async def test_a_name_is_resolved_once_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was checked, whatever the name means afterwards."""
    async with receiving(answering(200)) as receiver, egress(LOOPBACK) as client:
        monkeypatch.setattr(socket, "getaddrinfo", _resolving(["127.0.0.1"], ["127.0.0.2"]))
        url = f"http://hooks.example:{receiver.port}/hook"
        await client.post(url, {"connection": "close"}, b"{}", deadline=10)
        assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"
        # The next connection is checked again, and the name now has another address.
        assert await kind_of(client, url) == "refused_address"


async def test_a_name_without_an_address_is_an_error() -> None:
    """The error says that the name cannot be resolved."""
    async with egress(LOOPBACK) as client:
        assert await kind_of(client, "http://no-such-name.invalid/") == "connection_refused"


async def test_a_proxy_gets_the_request(receiver_of_proxy: Receiver) -> None:
    """The gateway then connects to nothing but the proxy."""
    client = Egress(AddressFilter(), proxy=f"http://127.0.0.1:{receiver_of_proxy.port}")
    try:
        answer = await client.post("http://hooks.example/hook", {}, b"{}", deadline=10)
    finally:
        await client.close()
    assert answer.status == 200
    assert receiver_of_proxy.received[0].path == "http://hooks.example/hook"


@pytest.fixture
async def receiver_of_proxy() -> AsyncIterator[Receiver]:
    """Run a server that answers in place of every receiver."""
    async with receiving(answering(200)) as receiver:
        yield receiver


@asynccontextmanager
async def proxying(*, allows: bool = True) -> AsyncIterator[tuple[int, list[str]]]:
    """Run a proxy that opens tunnels; yields its port and the targets of its tunnels."""
    targets: list[str] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            writer.write(part)
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        targets.append(f"{method} {target}")
        if not allows:
            writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            return
        # The proxy decides what a name means.
        port = int(target.rpartition(":")[2])
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(ConnectionError):
            await asyncio.gather(copy(reader, outer), copy(inner, writer))

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], targets
    finally:
        server.close()


async def test_a_proxy_opens_a_tunnel_to_an_https_receiver(authority: Authority) -> None:
    """The certificate is still checked, by the name in the URL, and the proxy sees no message."""
    identity = authority.issue("hooks", "hooks.example")
    async with receiving(answering(200), identity) as receiver, proxying() as (port, targets):
        proxy = f"http://127.0.0.1:{port}"
        client = Egress(AddressFilter(), proxy=proxy, ca=authority.file)
        try:
            url = f"https://hooks.example:{receiver.port}/hook"
            answer = await client.post(url, {}, b"{}", deadline=10)
            wrong = f"https://other.example:{receiver.port}/hook"
            assert await kind_of(client, wrong) == "tls_error"
        finally:
            await client.close()
        assert (answer.status, receiver.received[0].path) == (200, "/hook")
        assert targets[0] == f"CONNECT hooks.example:{receiver.port}"
        assert len(receiver.received) == 1


async def test_a_proxy_that_refuses_a_tunnel_fails_the_attempt(authority: Authority) -> None:
    """The gateway does not connect to the receiver itself."""
    async with (
        receiving(answering(200), authority.issue("receiver")) as receiver,
        proxying(allows=False) as (port, targets),
    ):
        client = Egress(LOOPBACK, proxy=f"http://127.0.0.1:{port}", ca=authority.file)
        try:
            assert await kind_of(client, receiver.url) == "protocol_error"
        finally:
            await client.close()
        assert (len(targets), receiver.connections) == (1, 0)


async def test_one_private_address_allowed_allows_no_other() -> None:
    """Receivers listen at several loopback addresses, and only the one is reached."""
    reached = []
    for host in ("127.0.0.1", "127.0.0.2", "127.1.2.3"):

        async def note(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str = host
        ) -> None:
            reached.append(host)
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(note, host, 0)
        port = server.sockets[0].getsockname()[1]
        async with egress(AddressFilter([parse_address("127.0.0.2")])) as client:
            if host == "127.0.0.2":
                await client.post(f"http://{host}:{port}/", {}, b"{}", deadline=10)
            else:
                assert await kind_of(client, f"http://{host}:{port}/") == "refused_address"
        server.close()
    assert reached == ["127.0.0.2"]
