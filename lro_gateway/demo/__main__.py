"""`python -m lro_gateway.demo` serves the databases of a directory until SIGINT or SIGTERM."""

import asyncio
import signal
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from lro_gateway.demo.pace import steady, unpaced
from lro_gateway.demo.server import DemoServer


def main(
    directory: Annotated[
        Path, typer.Option(help="The directory of the databases; created if missing.")
    ],
    address: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1:50051",
    pace_ms: Annotated[
        int, typer.Option(min=0, help="Milliseconds that operations pause between batches.")
    ] = 0,
) -> None:
    """Serve a directory of SQLite databases as a gRPC service with long-running operations."""
    asyncio.run(_serve(directory, address, timedelta(milliseconds=pace_ms)))


async def _serve(directory: Path, address: str, delay: timedelta) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pace = steady(delay) if delay else unpaced
    async with DemoServer.open(directory, address=address, pace=pace) as server:
        typer.echo(server.target)
        await stop.wait()


typer.run(main)
