"""The bounds of requests, waits and streams in flight, in front of a real process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http
from tests.contrary import Answer, ContraryBackend, answering
from tests.serving.wires import HOST, LIVEZ, OPENAPI, UNENDING_WAIT, Wire, exchange, limited

WATCH = b"GET /v1/jobs/1:watch HTTP/1.1\r\n" + HOST + b"\r\n"
RUNNING = operations_pb2.Operation(name="jobs/1")


@pytest.mark.parametrize(
    ("setting", "reason", "status", "others"),
    [
        ("max_requests", "TOO_MANY_REQUESTS", 503, 503),
        ("max_requests_per_address", "TOO_MANY_REQUESTS", 429, 429),
        ("max_streams", "TOO_MANY_STREAMS", 503, 200),
        ("max_streams_per_address", "TOO_MANY_STREAMS", 429, 200),
    ],
)
async def test_requests_beyond_a_bound_are_refused_until_one_ends(
    tmp_path: Path, setting: str, reason: str, status: int, others: int
) -> None:
    """Probes are answered, and streams do not keep out other requests by their own bound."""
    waiting = asyncio.Semaphore(0)

    async def hang(_request: object, _context: object) -> Answer:
        waiting.release()
        await asyncio.Event().wait()
        raise AssertionError("unreachable: nothing sets the event")

    handlers = {"GetOperation": answering(RUNNING), "WaitOperation": hang}
    async with (
        ContraryBackend.open(handlers) as backend,
        limited(tmp_path, backend.target, **{setting: 2}) as gateway,
    ):
        wait, watch = await Wire.open(gateway, UNENDING_WAIT), await Wire.open(gateway, WATCH)
        await waiting.acquire()
        async with asyncio.timeout(60):
            await watch.reader.readuntil(b"event: operation")
        refused = await Wire.open(gateway, UNENDING_WAIT)
        found, why, metadata = await refused.refusal()
        assert (found, why) == (status, reason)
        assert metadata == {"limit": "2", "setting": f"limits.{setting}"}
        # The connection stays usable.
        refused.writer.write(LIVEZ)
        assert await refused.answer() == (200, {"status": "ok"})
        refused.close()
        assert (await exchange(gateway, OPENAPI))[0] == others
        await gateway.logged(f"see limits.{setting}")
        watch.close()
        async with asyncio.timeout(60):
            while (await exchange(gateway, WATCH))[0] != 200:
                pass
        wait.close()


async def test_a_bound_of_each_address_counts_the_clients_behind_a_trusted_proxy() -> None:
    """The proxy itself has no such bound, because its requests may be those of many clients."""
    clients = ("203.0.113.7", "203.0.113.7", "203.0.113.8", None, None)
    statuses = []
    async with AsyncExitStack() as stack:
        handlers = {"GetOperation": answering(RUNNING)}
        backend = await stack.enter_async_context(ContraryBackend.open(handlers))
        settings = {
            "server": {"port": 0, "trusted_proxies": ["127.0.0.1"]},
            "limits": {"max_streams_per_address": 1, "max_connections_per_address": 1},
            "backends": [{"name": "b", "target": backend.target, "descriptors": []}],
        }
        gateway = Gateway.open(GatewayConfig.model_validate(settings))
        server = await stack.enter_async_context(
            serve_http(await stack.enter_async_context(gateway))
        )
        client = httpx.AsyncClient(base_url=f"http://{server.address}")
        await stack.enter_async_context(client)
        for each in clients:
            headers = {"X-Forwarded-For": each} if each else {}
            watch = client.stream("GET", "/v1/jobs/1:watch", headers=headers)
            statuses.append((await stack.enter_async_context(watch)).status_code)
    assert statuses == [200, 429, 200, 200, 200]
