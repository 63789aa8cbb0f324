"""`lro-gateway call`: calls a method of a service, such as one that starts an operation."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from lro_gateway.commands import options
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
    stdout,
)
from lro_gateway.commands.terminal.failures import CommandError, Exit
from lro_gateway.commands.terminal.formats import TABLE, checked_format, formatted
from lro_gateway.commands.terminal.gateway_client import GatewayClient
from lro_gateway.commands.waiting import Wait, escaped_lines, waited
from lro_gateway.errors import escaped

_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


Method = Annotated[
    str,
    typer.Argument(
        metavar="METHOD",
        help="The method, such as CreateDatabase, DatabaseAdmin.CreateDatabase or create_database.",
    ),
]
Request = Annotated[
    str,
    typer.Argument(metavar="[JSON]", help="The request as a JSON object; - reads it from stdin."),
]
Field = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="A field of the request, as database_id=orders or spec.size:=3, whose value is JSON"
        " after := and otherwise a text.",
    ),
]


def call(  # noqa: PLR0913 - each parameter is an option of the command
    method: Method,
    request: Request = "",
    *,
    field: Field = None,
    gateway: Gateway = options.URL,
    backend: Backend = None,
    token_file: TokenFile = None,
    timeout: Timeout = None,
    report_every: Every = "30s",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the operation is done.")] = False,
    yes: Yes = False,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Call a method, and print its answer. If it starts an operation, --wait waits for its end."""
    connection, only = connection_of(gateway, backend, token_file, keyring)

    async def work(client: GatewayClient) -> int:
        form = checked_format(format)
        arguments = _arguments(request, field or [])
        if only:
            arguments["backend"] = only
        answer = await client.call(tool_name(method), arguments)
        name = answer.get("name")
        runs = "done" in answer and isinstance(name, str)
        if runs and wait:
            return await waited(client, [str(name)], form, Wait(timeout, report_every))
        if form != TABLE:
            stdout.file.write(formatted(form, answer))
        else:
            stdout.print(escaped_lines(formatted("yaml", answer)), soft_wrap=True)
        if runs and not answer["done"]:
            line = f"It runs. Follow it: lro-gateway operations wait {escaped(str(name))}"
            stderr.print(line, soft_wrap=True, markup=False)
        return Exit.SUCCEEDED

    run(connection, work, agrees=yes)


def tool_name(method: str) -> str:
    """Return the name of a method's tool: the last parts of its name, in snake_case."""
    parts = re.split(r"[./]", method.strip("/"))
    words = [_CAPITAL.sub("_", part).lower() for part in parts]
    return "_".join(words[-2:]) if len(words) > 1 else words[0]


def _arguments(request: str, fields: Sequence[str]) -> dict[str, Any]:
    """Return the request that a JSON object and single fields give together."""
    text = sys.stdin.read() if request == "-" else request
    try:
        arguments = json.loads(text) if text.strip() else {}
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
        return json.loads(value)
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
