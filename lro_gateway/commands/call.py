"""`lro-gateway call`: calls a method of a service, such as one that starts an operation."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from lro_gateway.commands import options
from lro_gateway.commands.json_input import json_of, stdin_text
from lro_gateway.commands.options import (
    Backend,
    Every,
    Format,
    Gateway,
    Keyring,
    Timeout,
    TokenFile,
    Yes,
    connection_of,
    run,
    stderr,
    write,
)
from lro_gateway.commands.terminal.connection import Connection
from lro_gateway.commands.terminal.failures import CommandError, Exit, RefusedError
from lro_gateway.commands.terminal.formats import checked_format, formatted
from lro_gateway.commands.terminal.gateway_client import APPROVALS, Called, GatewayClient
from lro_gateway.commands.terminal.methods import (
    backend_argument,
    fields_table,
    method_help,
    spelt_like,
    tool_name,
)
from lro_gateway.commands.waiting import Wait, escaped_lines, waited
from lro_gateway.errors import escaped

_BACKEND_NEEDED: Final = "BACKEND_NEEDED"
_CANCELLED: Final = 1
"""The google.rpc.Code of a cancelled operation."""
_NO_METHODS: Final = (
    "no methods are offered, or you may use none of them; `lro-gateway check` says why, and with"
    " --as for one caller"
)

Method = Annotated[
    str | None,
    typer.Argument(
        metavar="METHOD",
        help="The method, such as CreateDatabase, DatabaseAdmin.CreateDatabase or create_database.",
        show_default=False,
    ),
]
Help = Annotated[
    bool,
    typer.Option("--help", help="Show this message, or the fields of METHOD.", show_default=False),
]
Request = Annotated[
    str,
    typer.Argument(metavar="JSON", help="The request as a JSON object; - reads it from stdin."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="A text of your choice, such as a UUID. The same call with the same key starts nothing"
        " twice.",
    ),
]
Field = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="A field of the request: KEY=TEXT, such as database_id=orders, or KEY:=JSON, such as"
        " spec.size:=3. Repeat the option for more fields.",
    ),
]


def call(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    method: Method = None,
    request: Request = "",
    *,
    field: Field = None,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    timeout: Timeout = None,
    report_every: Every = "30s",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the operation is done.")] = False,
    idempotency_key: Key = None,
    yes: Yes = False,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
    shows_help: Help = False,
) -> None:
    """Call a method, and print its answer. If it starts an operation, --wait waits for its end.

    Without METHOD the command lists the methods. METHOD --help shows the fields of its request.
    """
    if shows_help and method is None:
        typer.echo(context.get_help())
        return
    connection = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        form = checked_format(format)
        how = Wait.of(timeout, report_every) if wait else None
        if method is None:
            return await _list_methods(client, form)
        if not method.strip():
            # A variable of a script may be empty, and the script must not believe that it called.
            raise CommandError("the method is empty; `lro-gateway call` lists the methods")
        if shows_help:
            return await _show_method(client, method, form)
        arguments = _arguments(request, field or [])
        if connection.backend:
            tool = await _tool(client, method)
            arguments[backend_argument(tool["inputSchema"])] = connection.backend
        called = await _answer(client, method, arguments, idempotency_key, connection)
        return await _end(client, called, form, how)

    run(connection, work, agrees=yes)


async def _end(client: GatewayClient, called: Called, form: str, wait: Wait | None) -> int:
    """Print what a call has returned, after a wait for the end of its operation if wanted."""
    answer = called.answer
    name = answer.get("name")
    runs = "done" in answer and isinstance(name, str)
    if runs and wait is not None:
        return await waited(client, [str(name)], form, wait)
    write(form, answer, lambda: escaped_lines(formatted("yaml", answer)))
    if runs and not answer["done"]:
        stderr.print(_next_step(str(name), called), soft_wrap=True, markup=False)
    return _exit_of(answer) if runs else Exit.SUCCEEDED


def _exit_of(operation: dict[str, Any]) -> Exit:
    """Return the status of a call whose operation may have ended already."""
    if "error" not in operation:
        return Exit.SUCCEEDED
    is_cancelled = operation["error"].get("code") == _CANCELLED
    return Exit.CANCELLED if is_cancelled else Exit.FAILED


def _next_step(name: str, called: Called) -> str:
    """Return what has become of a call that is not done, and how to follow it."""
    if name.startswith(APPROVALS):
        state, first = "It is not called yet", "asked for it, and it is not called yet"
    else:
        state, first = "It runs", "started it, and it runs"
    if called.is_repeat:
        state = f"An earlier call with this key has {first}"
    # A person copies the line into a shell, and a service may have put a command into the name.
    return f"{state}. Follow it: lro-gateway operations wait {shlex.quote(escaped(name))}"


async def _answer(
    client: GatewayClient,
    method: str,
    arguments: dict[str, Any],
    key: str | None,
    connection: Connection,
) -> Called:
    """Return the answer of a method. If its request is wrong, show its fields and end."""
    try:
        return await client.call(tool_name(method), arguments, key)
    except RefusedError as error:
        if error.reason == _BACKEND_NEEDED:
            # With addresses, --backend is not free for a name.
            option = "--field backend=NAME" if connection.targets else "--backend NAME"
            raise CommandError(f"{error}; pass {option}") from error
        if error.code != "INVALID_ARGUMENT" or error.reason.startswith("IDEMPOTENCY_KEY"):
            raise _in_words_of(method, error) from error
        try:
            tool = await client.describe(tool_name(method))
        except CommandError:
            # The method itself may be what is wrong.
            raise error from None
        options.complain_of(error)
        stderr.print(f"\nThe request of {escaped(method)}:\n", markup=False)
        options.show(lambda: fields_table(tool["inputSchema"]), stderr)
        raise typer.Exit(error.status) from None


async def _list_methods(client: GatewayClient, form: str) -> int:
    methods = await client.methods()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("METHOD", "SERVICE AND COMMENT"):
        table.add_column(title, overflow="fold")
    for each in methods:
        table.add_row(*(Text(escaped(each[key])) for key in ("name", "description")))
    write(form, methods, lambda: table)
    if not methods:
        stderr.print(_NO_METHODS, soft_wrap=True, markup=False)
    return Exit.SUCCEEDED


async def _tool(client: GatewayClient, method: str) -> dict[str, Any]:
    """Return the tool of a method. Raise `CommandError` if there is none."""
    try:
        return await client.describe(tool_name(method))
    except RefusedError as error:
        raise _in_words_of(method, error) from error


async def _show_method(client: GatewayClient, method: str, form: str) -> int:
    tool = await _tool(client, method)
    write(form, tool, lambda: method_help(method, tool))
    return Exit.SUCCEEDED


def _in_words_of(method: str, error: RefusedError) -> CommandError:
    """Return the error about an unknown method with the method as the person has spelt it."""
    if error.reason != "UNKNOWN_METHOD":
        return error
    near = [
        spelt_like(each, method) for each in error.metadata.get("methods", "").split(", ") if each
    ]
    lists = "`lro-gateway call` lists the methods that you may use"
    cure = f"did you mean {' or '.join(near)}?" if near else lists
    return CommandError(f"there is no method {method!r}; {cure}")


def _arguments(request: str, fields: Sequence[str]) -> dict[str, Any]:
    """Return the request that a JSON object and single fields give together."""
    try:
        text = stdin_text() if request == "-" else request
        arguments = json_of(text) if text.strip() else {}
    except ValueError as error:
        raise CommandError(f"the request is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise CommandError('the request must be a JSON object, such as {"databaseId": "orders"}')
    for field in fields:
        path, separator, value = field.partition("=")
        if not separator or not path.strip(":"):
            raise CommandError(f"--field needs KEY=VALUE or KEY:=JSON, not {field!r}")
        _set(arguments, path.removesuffix(":"), _value(field, path, value))
    return arguments


def _value(field: str, path: str, value: str) -> Any:
    if not path.endswith(":"):
        return value
    try:
        return json_of(value)
    except ValueError as error:
        raise CommandError(f"--field {field}: the text after := is not JSON: {error}") from None


def _set(arguments: dict[str, Any], path: str, value: Any) -> None:
    *outer, last = path.split(".")
    for each in outer:
        inner = arguments.setdefault(each, {})
        if not isinstance(inner, dict):
            raise CommandError(f"--field {path}: {each} is no message")
        arguments = inner
    arguments[last] = value
