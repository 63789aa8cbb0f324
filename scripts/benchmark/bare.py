"""What the bare contenders share: a stub to the backend, and uvicorn set as the gateway sets it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import uvicorn
import uvloop
from google.longrunning import operations_pb2_grpc
from starlette.types import ASGIApp

# Its import makes the metadata's type known, as generated code would in such a program.
from lro_gateway.demo.v1 import database_admin_pb2  # noqa: F401
from scripts.benchmark.lines import say, until_closed


def serve(make_app: Callable[[Any], ASGIApp]) -> None:
    """Serve the app over a stub to the backend that the command line names, until stdin closes."""
    uvloop.run(_serve(make_app, sys.argv[1]))


async def _serve(make_app: Callable[[Any], ASGIApp], target: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        app = make_app(operations_pb2_grpc.OperationsStub(channel))
        async with _listening(app) as address:
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
