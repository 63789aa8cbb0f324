"""`lro-gateway operations wait`, and the wait of other commands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from lro_gateway.commands import options
from lro_gateway.commands.options import (
    Backend,
    Every,
    Format,
    Gateway,
    Keyring,
    Names,
    Timeout,
    TokenFile,
    connection_of,
    run,
    stderr,
    stdout,
)
from lro_gateway.commands.terminal.failures import CommandError, Exit
from lro_gateway.commands.terminal.following import Report, bars, ended, exit_of
from lro_gateway.commands.terminal.formats import TABLE, checked_format, formatted
from lro_gateway.commands.terminal.gateway_client import GatewayClient
from lro_gateway.commands.terminal.names import full_name
from lro_gateway.commands.terminal.rows import STYLES, Row, failure_of
from lro_gateway.commands.terminal.times import duration_of
from lro_gateway.errors import escaped

_MOST_OFTEN: Final = 0.1
"""The shortest time between two lines, in seconds."""
_LAST_LOOK: Final = 2.0
"""Seconds for a last look at the operations, so that none counts as not done by mistake."""


@dataclass(frozen=True, slots=True)
class Wait:
    """How to wait: the limit, as a duration in text, and the seconds between two lines.

    With `any_of`, the first operation that is done ends the wait.
    """

    limit: str | None
    every: float
    any_of: bool = False

    @classmethod
    def of(cls, limit: str | None, every: str, *, any_of: bool = False) -> Wait:
        """Return the wait of the options. Raises `CommandError` if a duration is wrong.

        A command that changes something calls this before the change.
        """
        if limit is not None:
            duration_of(limit)
        seconds = duration_of(every).total_seconds()
        if seconds < _MOST_OFTEN:
            raise CommandError(f"--report-every needs {_MOST_OFTEN:g}s or more, not {every}")
        return cls(limit, seconds, any_of)

    def deadline(self) -> float | None:
        """Return the end of a wait that begins now, in the time of the event loop."""
        if self.limit is None:
            return None
        return asyncio.get_running_loop().time() + duration_of(self.limit).total_seconds()


async def waited(
    client: GatewayClient,
    names: Sequence[str],
    form: str,
    wait: Wait,
    deadline: float | None = None,
) -> int:
    """Wait for operations, print those that are done, and return the status of the command.

    Without a `deadline` the limit counts from now.
    """
    done: list[Any] = []
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline or wait.deadline()):
            done = await _shown_while(client, names, wait.every, any_of=wait.any_of)
    if not done:
        done = await _done_now(client, names)
        left = [each for each in names if each not in {str(e["name"]) for e in done}]
        if left and not (done and wait.any_of):
            options.fail(f"not done after {wait.limit}: {', '.join(left)}", Exit.TIMEOUT)
    if form != TABLE:
        options.write(form, done if len(names) > 1 else done[0])
    else:
        for operation in done:
            _print_end(operation)
    return exit_of(done)


async def _done_now(client: GatewayClient, names: Sequence[str]) -> list[Any]:
    """Return those operations that are done now, as far as the gateway answers soon."""
    found = []
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_LOOK):
            for name in names:
                operation = await client.get(name)
                # The answer may have another name for the operation.
                found += [{**operation, "name": name}] if operation["done"] else []
    return found


async def _shown_while(
    client: GatewayClient, names: Sequence[str], every: float, *, any_of: bool
) -> list[Any]:
    if stderr.is_terminal:
        with bars(stderr) as view:
            return await ended(client, names, view, any_of=any_of)
    report = Report(stderr, every)
    reporting = asyncio.create_task(report.run())
    try:
        return await ended(client, names, report, any_of=any_of)
    finally:
        reporting.cancel()


def _print_end(operation: Any) -> None:
    row = Row.of(operation)
    line = Text.assemble(f"{row.name} ", (row.state, STYLES[row.state]))
    if failure := failure_of(operation):
        line.append(f" {failure}")
    stdout.print(line, soft_wrap=True)
    if response := operation.get("response"):
        stdout.print(escaped_lines(formatted("yaml", response)), soft_wrap=True)


def escaped_lines(text: str) -> Text:
    """Return a text of several lines, each of them escaped and indented."""
    return Text("\n".join(f"  {escaped(line)}" for line in text.rstrip("\n").split("\n")))


def wait(  # noqa: PLR0913 - each parameter is an option of the command
    names: Names,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    timeout: Timeout = None,
    report_every: Every = "30s",
    *,
    any_of: Annotated[bool, typer.Option("--any", help="End when the first is done.")] = False,
    all_of: Annotated[bool, typer.Option("--all", help="Wait for all; the default.")] = False,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Wait until operations are done, and print how they ended.

    The status is 0 if they succeeded, 1 if one failed, 3 if one was cancelled, 124 if the timeout
    passed, 2 if the command or a call was refused, and 4 if nothing can be reached.
    """
    if any_of and all_of:
        options.fail("pass --any or --all, and not both")
    connection = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        form = checked_format(format)
        how = Wait.of(timeout, report_every, any_of=any_of)
        deadline = how.deadline()
        try:
            async with asyncio.timeout_at(deadline):
                whole = [*dict.fromkeys([await full_name(client, each) for each in names])]
        except TimeoutError:
            options.fail(f"not done after {timeout}: {', '.join(names)}", Exit.TIMEOUT)
        return await waited(client, whole, form, how, deadline)

    run(connection, work)
