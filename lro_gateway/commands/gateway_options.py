"""The options of the commands that open a gateway, and how these commands run and fail."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
import uvloop

from lro_gateway.commands.store_choice import with_store
from lro_gateway.config import loading
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.records.importing import imported
from lro_gateway.serving.logs import flush_log
from lro_gateway.serving.worker import WorkerError

_T = TypeVar("_T")
_EXPOSED: Final = (
    "{} can be reached from other machines, and callers are not identified, so anyone could cancel"
    " and delete operations. Add the table [auth] to the configuration, or pass --allow-anonymous"
    " to serve there anyway"
)

Backends = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        metavar="[NAME=]TARGET",
        help="A gRPC backend, such as 127.0.0.1:50051, builds=[::1]:50051 or unix:/run/b.sock;"
        " repeat the option for more backends.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A TOML file with the configuration; see gateway.example.toml.",
    ),
]
Host = Annotated[str | None, typer.Option(help="The address to listen at  [default: 127.0.0.1]")]
Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="The port to listen at; 0 picks a free one  [default: 8080]"
    ),
]
Stdio = Annotated[
    bool, typer.Option("--stdio", help="Serve MCP on stdin and stdout instead of HTTP.")
]
AllowAnonymous = Annotated[
    bool,
    typer.Option(
        "--allow-anonymous", help="Listen beyond loopback although callers are not identified."
    ),
]
Workers = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="The number of processes that serve at the address."),
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL", help="The least severe lines of the log: debug, info, warning or error."
    ),
]
LogFormat = Annotated[
    str | None, typer.Option(metavar="FORMAT", help="The format of the log: text or json.")
]

AccessLog = Annotated[
    bool, typer.Option("--access-log", help="Log each HTTP request when its answer has ended.")
]


def settings_of(
    backends: list[str] | None,
    config: Path | None,
    options: Mapping[str, Mapping[str, object]],
    stdio: bool,
    allow_anonymous: bool,
    workers: int,
) -> GatewayConfig:
    """Return the configuration that the options of serve or check give.

    The process ends with status 2 if they have mistakes.
    """
    if stdio and workers > 1:
        fail(["--workers cannot be used with --stdio, because no address is shared over stdio"])
    found = loaded(config, backends or [], options)
    if not found.backends:
        cure = f", or add [[backends]] to {config}" if config else " or --config FILE"
        fail([f"no backend is configured: give --backend HOST:PORT{cure}"])
    identifies = found.auth is not None and found.auth.identifies_http
    if not (stdio or found.server.is_loopback or identifies or allow_anonymous):
        fail([_EXPOSED.format(found.server.host)])
    return found


def stored(settings: GatewayConfig, *, workers: int, stdio: bool) -> tuple[GatewayConfig, str]:
    """Return what `with_store` returns. The process ends with status 2 if there is a mistake."""
    try:
        return with_store(settings, workers=workers, stdio=stdio)
    except ConfigError as error:
        fail(error.mistakes)


def options_of(
    host: str | None,
    port: int | None,
    level: str | None,
    log_format: str | None,
    access_log: bool = False,
) -> Mapping[str, Mapping[str, object]]:
    """Return the options of a command that override keys of the configuration's tables."""
    tables: dict[str, dict[str, object]] = {
        "server": {"host": host, "port": port},
        "logs": {"level": level, "format": log_format, "access": access_log or None},
    }
    return {
        name: {key: value for key, value in table.items() if value is not None}
        for name, table in tables.items()
    }


def loaded(
    config: Path | None, backends: list[str], options: Mapping[str, Mapping[str, object]]
) -> GatewayConfig:
    """Return the configuration. The process ends with status 2 if it has mistakes."""
    try:
        return loading.load(config, backends, options)
    except ConfigError as error:
        fail(error.mistakes)


def run(main: Callable[[], Coroutine[Any, Any, _T]], address: str = "") -> _T:
    """Run `main` and return its result.

    The process ends with status 2 if the configuration has a mistake, or if the address cannot be
    bound. It ends with status 1 if a worker cannot start.
    """
    try:
        return uvloop.run(main())
    except* ConfigError as group:
        fail([mistake for error in _leaves(group) for mistake in str(error).splitlines()])
    except* OSError as group:
        problems = [error for error in _leaves(group) if isinstance(error, OSError)]
        fail([cannot_listen(address, error) for error in problems])
    except* WorkerError as group:
        fail([str(error) for error in _leaves(group)], status=1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def cannot_listen(address: str, error: OSError) -> str:
    """Return the sentence about an address at which the gateway cannot listen."""
    cure = ""
    if error.errno == errno.EADDRINUSE:
        cure = "; choose another port with --port, or --port 0 for any free one"
    return f"cannot listen at {address}: {error.strerror or error}{cure}"


def fail(mistakes: Sequence[str], status: int = 2) -> NoReturn:
    """Print mistakes on stderr, and end the process."""
    flush_log()
    # This module has Rich's console, which takes 1.5 MB and which a running server does not need.
    terminal: Any = imported("lro_gateway.commands.options")
    for mistake in mistakes:
        terminal.complain(mistake)
    raise typer.Exit(status)
