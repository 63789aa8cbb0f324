"""The demonstration: a real backend, a gateway in front of it, and a few operations to watch."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shlex
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import grpc.aio
import httpx2
import typer
from google.longrunning import operations_pb2, operations_pb2_grpc
from pydantic import SecretBytes
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from lro_gateway.access.sealing import MIN_KEY
from lro_gateway.commands.gateway_options import LogFormat, LogLevel, loaded, options_of, run
from lro_gateway.commands.terminal.rows import STYLES
from lro_gateway.config.models import BackendConfig, GatewayConfig, ServerConfig
from lro_gateway.config.store import StoreConfig
from lro_gateway.demo.databases import damage
from lro_gateway.demo.pace import Pace
from lro_gateway.demo.server import DESCRIPTORS, DemoServer
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from lro_gateway.demo.v1.database_admin_pb2_grpc import DatabaseAdminStub
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import Location
from lro_gateway.serving.http import serve_http
from lro_gateway.serving.logs import configure_logging
from lro_gateway.serving.scratch import scratch_directory
from lro_gateway.serving.signals import stop_on_signals

_BATCH_DELAY: Final = 0.6
"""Seconds between two batches of work, so that a hundred batches take a minute."""
_POLL_INTERVAL: Final = 0.5
"""Seconds between two reads of the operations that are shown."""
_LONG_ROWS: Final = 500_000
_KEPT_DATABASES: Final = 2
_OTHER_COLUMNS: Final = 68
"""The width of a row with a long title and without its state, and of the `^C` behind it."""
_SHORTEST: Final = 9
_MAX_ROWS: Final = 12
"""The number of operations that are shown, the newest."""
_STYLES: Final = {**STYLES, "done": STYLES["succeeded"]}
_HTTP_PORT: Final = 8080
_GRPC_PORT: Final = 50051


class _Pacer:
    """The backend's pace. The first operations are fast, and later ones slow enough to watch."""

    def __init__(self) -> None:
        self.delay = 0.0

    async def __call__(self) -> None:
        await asyncio.sleep(self.delay)


def demo(
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="The port to listen at  [default: 8080, or any port if 8080 is taken]",
        ),
    ] = None,
    *,
    opens_page: Annotated[
        bool, typer.Option("--open", help="Open the page of the gateway in a browser.")
    ] = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run the gateway in front of a demo backend with a few operations to watch."""
    configure_logging(
        loaded(None, [], options_of(None, None, log_level or "warning", log_format)).logs
    )
    if sys.stderr.isatty():
        # A slow machine shows nothing more for half a minute.
        typer.echo("lro-gateway: starting the demo ...", err=True)
    run(lambda: _shown(port, opens_page=opens_page), f"127.0.0.1:{port or 0}")


async def _shown(port: int | None, *, opens_page: bool) -> None:
    await show(port, stop_on_signals().wait, opens_page=opens_page)


async def show(
    port: int | None, until: Callable[[], Awaitable[object]], *, opens_page: bool = False
) -> None:
    """Serve the demonstration on loopback and show its operations until `until` returns.

    Without `port`, the gateway listens at 8080, or at any free port if 8080 is taken. With
    `opens_page`, the gateway's page is opened in the browser of this machine.
    """
    pacer = _Pacer()
    console = Console(highlight=False, emoji=False)
    with scratch_directory() as directory:
        async with AsyncExitStack() as stack:
            backend = await _open_backend(stack, directory, pacer)
            config = GatewayConfig(
                server=ServerConfig(
                    port=_free(_HTTP_PORT) if port is None else port,
                    keys=(SecretBytes(os.urandom(MIN_KEY)),),
                ),
                backends=(
                    BackendConfig(
                        name="demo",
                        target=backend.target,
                        descriptors=(str(DESCRIPTORS), "reflection"),
                    ),
                ),
                store=StoreConfig(url=Location(directory / "store" / "store.sqlite3")),
            )
            async with Gateway.open(config) as gateway, serve_http(gateway) as server:
                running = await _start_operations(backend.target, directory, pacer)
                url = f"http://{server.address}"
                introduce = partial(_introduce, console, url, backend.target, running)
                introduce()
                if opens_page:
                    # A browser in a terminal would hold up the gateway until it ends.
                    page = (f"{url}/",)
                    threading.Thread(target=webbrowser.open, args=page, daemon=True).start()
                others = asyncio.create_task(_keep_running(backend.target, directory, running))
                try:
                    await _watch(console, url, until, introduce)
                finally:
                    others.cancel()
                    await asyncio.gather(others, return_exceptions=True)


async def _open_backend(stack: AsyncExitStack, directory: Path, pace: Pace) -> DemoServer:
    """Serve a directory at port 50051, or at any free port if 50051 is taken."""
    try:
        address = f"127.0.0.1:{_free(_GRPC_PORT)}"
        return await stack.enter_async_context(
            DemoServer.open(directory, address=address, pace=pace)
        )
    except RuntimeError:
        # gRPC raises this if another process has taken the port since `_free` found it free.
        return await stack.enter_async_context(DemoServer.open(directory, pace=pace))


def _free(port: int) -> int:
    """Return the port if it is free, or 0, which means any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return port


async def _start_operations(target: str, directory: Path, pacer: _Pacer) -> str:
    """Start operations that end, fail and are cancelled, then a long one. Return its name."""
    async with grpc.aio.insecure_channel(target) as channel:
        admin: Any = DatabaseAdminStub(channel)
        operations = _Operations(channel)
        for database_id in ("orders", "archive"):
            created = await admin.CreateDatabase(pb.CreateDatabaseRequest(database_id=database_id))
            await operations.wait(created.name)
        damage(directory / "archive.sqlite3")
        checked = await admin.CheckDatabase(pb.CheckDatabaseRequest(name="databases/archive"))
        await operations.wait(checked.name)
        pacer.delay = _BATCH_DELAY
        backup = pb.BackupDatabaseRequest(name="databases/orders", backup_id="monday")
        cancelled = await admin.BackupDatabase(backup)
        await operations.cancel(cancelled.name)
        running = await admin.CreateDatabase(
            pb.CreateDatabaseRequest(database_id="warehouse", row_count=_LONG_ROWS)
        )
        return str(running.name)


async def _keep_running(target: str, directory: Path, name: str) -> None:
    """Start another long operation each time that the last one has ended, until it is cancelled.

    Of the databases that this function makes, the files of all but the last two are removed.
    """
    async with grpc.aio.insecure_channel(target) as channel:
        admin: Any = DatabaseAdminStub(channel)
        operations = _Operations(channel)
        made: list[str] = []
        for number in itertools.count(2):
            database = f"warehouse-{number}"
            # A person may delete the operation, or make a database of this name.
            with suppress(grpc.aio.AioRpcError):
                await operations.wait(name)
                request = pb.CreateDatabaseRequest(database_id=database, row_count=_LONG_ROWS)
                name = (await admin.CreateDatabase(request)).name
                made.append(database)
            if len(made) > _KEPT_DATABASES:
                (directory / f"{made.pop(0)}.sqlite3").unlink(missing_ok=True)
            await asyncio.sleep(_POLL_INTERVAL)


class _Operations:
    """The two RPCs of google.longrunning.Operations that the demonstration uses."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = operations_pb2_grpc.OperationsStub(channel)

    async def wait(self, name: str) -> None:
        await self._stub.WaitOperation(operations_pb2.WaitOperationRequest(name=name))

    async def cancel(self, name: str) -> None:
        await self._stub.CancelOperation(operations_pb2.CancelOperationRequest(name=name))


def _introduce(console: Console, url: str, target: str, running: str) -> None:
    """Print the addresses, and commands for a person to try."""
    command = str(Path(sys.argv[0]).resolve())
    arguments = ["serve", "--stdio", "--backend", f"demo={target}"]
    client = {"mcpServers": {"lro-gateway": {"command": command, "args": arguments}}}
    lines = (
        f"lro-gateway is at {url}, in front of a gRPC backend at {target}.",
        "",
        "With curl, from another terminal:",
        f"  curl -X POST {url}/v1/databases -d {shlex.quote(json.dumps({'databaseId': 'mine'}))}",
        f"  curl {url}/v1/operations",
        f"  curl {url}/v1/{running}",
        f"  curl -X POST {shlex.quote(f'{url}/v1/{running}:cancel')}",
        "",
        f"With an MCP client:  {url}/mcp",
        "or over stdio, for its configuration:",
        json.dumps(client),
        "",
        f"In a browser:  {url}/ shows the operations live, and {url}/docs the API.",
        f"To curl and other programs, {url}/ gives the gateway's addresses as JSON.",
        "Ctrl-C stops everything.",
        "",
    )
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


async def _watch(
    console: Console,
    url: str,
    until: Callable[[], Awaitable[object]],
    introduce: Callable[[], None],
) -> None:
    """Read the operations through the gateway's REST face, and show them until `until` returns."""
    view = _Bars(console) if console.is_terminal else _Lines(console)
    if isinstance(view, _Bars):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, view.redraw, introduce)
    async with httpx2.AsyncClient(base_url=url) as client:
        watching = asyncio.create_task(_follow(client, view))
        try:
            await until()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            view.close()


async def _follow(client: httpx2.AsyncClient, view: _Bars | _Lines) -> None:
    while True:
        # On a busy machine a request may time out. The next request then gets the latest states.
        with suppress(httpx2.HTTPError):
            answer = await client.get("/v1/operations", params={"pageSize": _MAX_ROWS})
            if answer.is_success:
                view.show([_Row.of(each) for each in reversed(answer.json()["operations"])])
        await asyncio.sleep(_POLL_INTERVAL)


@dataclass(frozen=True, slots=True)
class _Row:
    """One operation as it is shown: its title, percentage and state."""

    name: str
    title: str
    percent: int
    state: str
    error: str = ""

    @property
    def text(self) -> str:
        """The state, and the error if there is one."""
        return f"{self.state}: {self.error}" if self.error else self.state

    @classmethod
    def of(cls, operation: dict[str, Any]) -> _Row:
        """Return the row of an operation, which is in ProtoJSON."""
        metadata = operation.get("metadata", {})
        kind = metadata.get("@type", "").rpartition(".")[2].removesuffix("Metadata")
        database = operation["name"].split("/")[1]
        state, message = "running", ""
        if error := operation.get("error"):
            is_cancelled = error["code"] == 1
            state = "cancelled" if is_cancelled else "failed"
            message = "" if is_cancelled else error.get("message", "")
        elif operation["done"]:
            state = "done"
        percent = metadata.get("progressPercent", 0)
        return cls(operation["name"], f"{kind} {database}", percent, state, message)


class _StateColumn(ProgressColumn):
    """Shows the state of an operation in its colour, and as much of its error as fits the line.

    At Ctrl-C a terminal prints `^C` behind the last row, which must not make it a second row.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(Column(no_wrap=True))
        self._console = console

    def render(self, task: Task) -> Text:
        """Return the text of the row that `_Bars` sets."""
        row: _Row = task.fields["row"]
        text = Text(row.text, style=_STYLES[row.state])
        text.truncate(max(self._console.width - _OTHER_COLUMNS, _SHORTEST), overflow="ellipsis")
        return text


class _Bars:
    """Shows each operation as a progress bar in a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=30, table_column=Column(min_width=10)),
            TextColumn("{task.percentage:>3.0f}%"),
            _StateColumn(console),
            console=console,
        )
        self._progress.start()

    def show(self, rows: Sequence[_Row]) -> None:
        """Draw the latest state of each operation, and none of other operations."""
        for name in self._tasks.keys() - {row.name for row in rows}:
            self._progress.remove_task(self._tasks.pop(name))
        for row in rows:
            if row.name not in self._tasks:
                task = self._progress.add_task(row.title, total=100, row=row)
                self._tasks[row.name] = task
            self._progress.update(self._tasks[row.name], completed=row.percent, row=row)

    def redraw(self, introduce: Callable[[], None]) -> None:
        """Draw everything again, because a terminal of another width has broken the rows."""
        self._progress.stop()
        self._console.clear()
        introduce()
        self._progress.start()

    def close(self) -> None:
        """Stop drawing, and restore the terminal."""
        self._progress.stop()


class _Lines:
    """Prints a line to a pipe at each change of state and each tenth of progress."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, tuple[int, str]] = {}

    def show(self, rows: Sequence[_Row]) -> None:
        """Print the latest state of each operation unless it is already printed."""
        for row in rows:
            latest = (row.percent // 10, row.state)
            if self._shown.get(row.name) != latest:
                self._shown[row.name] = latest
                line = f"{row.title}: {row.percent}% {row.text} ({row.name})"
                self._console.print(line, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Do nothing, because this class opens nothing."""
