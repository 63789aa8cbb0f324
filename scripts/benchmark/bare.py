"""What the bare contenders share: a channel to the backend, and uvicorn as the gateway has it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc.aio
import uvicorn
import uvloop
from starlette.types import ASGIApp

from scripts.benchmark.lines import say, until_closed


def serve(make_app: Callable[[grpc.aio.Channel], ASGIApp]) -> None:
    """Serve the app over a channel to the target on the command line, until stdin closes."""
    uvloop.run(_serve(make_app, sys.argv[1]))


async def _serve(make_app: Callable[[grpc.aio.Channel], ASGIApp], target: str) -> None:
    async with (
        grpc.aio.insecure_channel(target) as channel,
        _listening(make_app(channel)) as address,
    ):
        say({"address": address})
        await until_closed()


@asynccontextmanager
async def _listening(app: ASGIApp) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
