"""`python -m lro_gateway.demo` serves the databases of a directory until SIGINT or SIGTERM."""

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from lro_gateway.demo.pace import steady, unpaced
from lro_gateway.demo.server import DemoServer

_CANNOT_LISTEN: Final = (
    "cannot listen at {}: another process uses it, or it is no address of this machine; choose"
    " another port, or any free one, with --address 127.0.0.1:0"
)


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
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(
                DemoServer.open(directory, address=address, pace=pace)
            )
        except RuntimeError:
            # gRPC raises this, and has no reason in its text.
            typer.echo(_CANNOT_LISTEN.format(address), err=True)
            raise typer.Exit(2) from None
        typer.echo(server.target)
        await stop.wait()


typer.run(main)
