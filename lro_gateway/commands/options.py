"""The options that all commands about operations share, and the way in which they run and fail."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from lro_gateway.commands.streams import silence
from lro_gateway.commands.terminal.completion import operation_names
from lro_gateway.commands.terminal.connection import DEFAULT_URL, Connection, connected
from lro_gateway.commands.terminal.failures import CommandError, Exit, RefusedError
from lro_gateway.commands.terminal.formats import TABLE, for_terminal, formatted, unknown_paths
from lro_gateway.commands.terminal.gateway_client import GatewayClient
from lro_gateway.errors import escaped
from lro_gateway.records.importing import imported

Gateway = Annotated[
    str,
    typer.Option(
        "--gateway",
        metavar="URL",
        envvar="LRO_GATEWAY_URL",
        help="The gateway to ask.",
    ),
]
Backend = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        metavar="NAME|HOST:PORT",
        help="With an address, ask this gRPC backend without a gateway; repeat it for more"
        " backends. With a name, only the operations of this backend of the gateway.",
        show_default=False,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar="LRO_GATEWAY_TOKEN_FILE",
        help="A file with the bearer token for the gateway. The variable LRO_GATEWAY_TOKEN may"
        " hold the token itself.",
        show_default=False,
    ),
]
Keyring = Annotated[
    bool, typer.Option("--keyring", help="Take the bearer token from the keyring of the system.")
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="table, json, yaml or value(PATH,...), such as value(name,summary.percent).",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer every question with yes.")]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The name, or the beginning or the end of its last part if only one operation has it.",
        autocompletion=operation_names,
    ),
]
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        help="The names, or the beginnings or the ends of their last parts.",
        autocompletion=operation_names,
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Give up after this time, such as 90s or 1h."),
]
Every = Annotated[
    str,
    typer.Option(
        "--report-every",
        metavar="DURATION",
        help="Where stderr is no terminal, print a line about the operations this often.",
    ),
]
URL: Final = DEFAULT_URL
FORMAT: Final = TABLE
_WIDEST: Final = 10_000
"""The width of a pipe, in characters."""


class _Console(Console):
    """A console without an opinion of how a command ends whose reader has gone."""

    def on_broken_pipe(self) -> None:
        """Raise the error again, because rich would end the process with the status 1."""
        raise  # noqa: PLE0704 - rich calls this while it handles the error


stdout: Final = _Console(highlight=False, emoji=False, soft_wrap=False)
stderr: Final = _Console(stderr=True, highlight=False, emoji=False)


def connection_of(
    gateway: str, backend: list[str] | None, token_file: Path | None, keyring: bool
) -> Connection:
    """Return the connection to a gateway, or to backends without one."""
    given = backend or []
    if not all(each.strip() for each in given):
        # A variable of a script may be empty, and the script must not reach all backends then.
        fail("--backend is empty; give an address, or the name of a backend of the gateway")
    names = [each for each in given if ":" not in each]
    if len(names) > 1 or (names and len(names) < len(given)):
        fail("--backend takes either addresses, or the name of one backend of the gateway")
    if names:
        return Connection(gateway, (), token_file, keyring, names[0])
    return Connection(gateway, tuple(given), token_file, keyring)


def run(
    connection: Connection,
    work: Callable[[GatewayClient], Awaitable[int]],
    *,
    agrees: bool = False,
    cut: int = Exit.CUT,
) -> NoReturn:
    """Run a command's work with a client, and end the process with the status that it returns.

    `cut` is the status if the reader of the output has gone, so that not all could be printed. A
    command whose status tells how something has ended must not end with 0 then.
    """

    async def main() -> int:
        async with connected(connection, lambda question: agrees or _asked(question)) as client:
            return await work(client)

    # asyncio would cancel the work instead, and a library that is called may swallow that.
    signal.signal(signal.SIGINT, _interrupt)
    try:
        status = asyncio.run(main())
    except CommandError as error:
        complain_of(error)
        raise typer.Exit(error.status) from None
    except KeyboardInterrupt:
        status = Exit.INTERRUPTED
    except UnicodeEncodeError as error:
        if not _has_surrogates(error):
            raise
        # An argument that is not UTF-8 has these in place of its other bytes.
        fail("an argument or a variable is not UTF-8")
    except BrokenPipeError:
        silence(sys.stdout, sys.stderr)
        status = cut
    raise typer.Exit(status)


def _has_surrogates(error: UnicodeEncodeError) -> bool:
    return any("\ud800" <= each <= "\udfff" for each in error.object[error.start : error.end])


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _asked(question: str) -> bool:
    if not sys.stdin.isatty():
        stderr.print(f"{escaped(question)} Pass --yes to agree.", soft_wrap=True, markup=False)
        return False
    return typer.confirm(escaped(question), err=True)


def write(form: str, value: Any, shown: Callable[[], RenderableType] = Text) -> None:
    """Print a value on stdout in a format, or what `shown` returns if the format is `table`.

    A line on stderr names each path of `value(PATH,...)` that nothing has.
    """
    if form == TABLE:
        show(shown)
        return
    put(form, formatted(form, value))
    warn_of_paths(form, value)


def put(form: str, text: str) -> None:
    """Print a text in a format other than `table` on stdout."""
    stdout.file.write(for_terminal(form, text) if stdout.is_terminal else text)
    # Lines on stderr that come later must not precede it, where both go to one file.
    stdout.file.flush()


def show(content: Callable[[], RenderableType], console: Console = stdout) -> None:
    """Print what a function returns. In a pipe, no line is wrapped, and none ends with blanks."""
    if console.is_terminal:
        console.print(content())
        return
    # A program that reads the lines must find each operation on one line.
    console.width = _WIDEST
    with console.capture() as captured:
        console.print(content())
    console.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    console.file.flush()


def width_of_table() -> int | None:
    """Return the width that a table on stdout may have, or None for any, as in a pipe."""
    return stdout.width if stdout.is_terminal else None


def warn_of_paths(form: str, value: Any) -> None:
    """Print a line on stderr for each path of a format that no item of a value has."""
    for problem in unknown_paths(form, value):
        stderr.print(
            f"lro-gateway: {escaped(problem)}", style="yellow", soft_wrap=True, markup=False
        )


def complain(message: str) -> None:
    """Print a message of this command on stderr."""
    try:
        stderr.print(f"lro-gateway: {escaped(message)}", style="red", soft_wrap=True, markup=False)
    except BrokenPipeError:
        silence(sys.stdout, sys.stderr)


def complain_of(error: CommandError) -> None:
    """Print the message of an error on stderr, and below it the details that a backend gave."""
    complain(str(error))
    if isinstance(error, RefusedError) and error.of_backend:
        # It imports YAML, which few commands need.
        told = imported("lro_gateway.commands.terminal.error_details")
        for line in told.lines_of(error.details):
            stderr.print(f"  {escaped(line)}", soft_wrap=True, markup=False)


def fail(message: str, status: int = 2) -> NoReturn:
    """Print a message on stderr, and end the process."""
    complain(message)
    raise typer.Exit(status)
