"""The client of the commands, in front of a proxy that ends streams too early."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lro_gateway.commands.terminal.failures import UnreachableError
from lro_gateway.commands.terminal.gateway_client import GatewayClient
from lro_gateway.config.limits import LimitsConfig
from lro_gateway.config.models import ServerConfig
from lro_gateway.serving.connections import Connections
from lro_gateway.serving.http import HttpServer, address_of, bind

pytestmark = pytest.mark.anyio

RUNNING: Final = {"name": "a/operations/1", "done": False, "summary": {"state": "running"}}
DONE: Final = {"name": "a/operations/1", "done": True, "summary": {"state": "succeeded"}}


@asynccontextmanager
async def client_of(*answers: Response) -> AsyncIterator[GatewayClient]:
    """Open a client of a server that gives each of its answers once."""
    left = list(answers)

    async def watch(_request: Request) -> Response:
        return left.pop(0)

    app = Starlette(routes=[Route("/v1/-:watch", watch)])
    listener = bind(ServerConfig(port=0))
    config = uvicorn.Config(app, log_config=None, lifespan="off")
    server = HttpServer(config, address_of(listener), Connections(LimitsConfig()))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await server.listening.wait()
    try:
        async with httpx2.AsyncClient(base_url=f"http://{server.address}") as http:
            yield GatewayClient(http, where="the proxy", cure="Mend it", agree=lambda _: False)
    finally:
        server.should_exit = True
        await task


def stream(*operations: Any) -> Response:
    """Return a stream of events that ends after these operations."""
    events = "".join(f"event: operation\ndata: {json.dumps(each)}\n\n" for each in operations)
    return Response(events, media_type="text/event-stream")


async def test_a_stream_that_ends_early_is_opened_again_and_no_state_comes_twice() -> None:
    """The new stream begins with the state that the old one had, so a reader would see it twice."""
    async with client_of(stream(RUNNING), stream(RUNNING, DONE)) as client:
        found = [operation async for operation in client.follow("a/operations/1")]
    assert found == [RUNNING, DONE]


async def test_what_is_no_gateway_is_told_as_such() -> None:
    """A proxy answers with a page of its own."""
    async with client_of(Response("<html>", 502)) as client:
        with pytest.raises(
            UnreachableError, match="the proxy answered 502 Bad Gateway, but not as"
        ):
            async for _ in client.follow("a/operations/1"):
                pass
