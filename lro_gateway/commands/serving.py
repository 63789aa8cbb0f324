"""The commands that open a gateway: serve, check and demo."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
import uvloop
from rich.console import Console

from lro_gateway import __version__
from lro_gateway.background import race
from lro_gateway.commands import check as checking
from lro_gateway.commands import explain_options
from lro_gateway.commands.check import Check
from lro_gateway.commands.check_words import lines
from lro_gateway.commands.demo import show
from lro_gateway.commands.explaining import (
    AsOptions,
    explained,
    explained_lines,
    question_of,
    split_backends,
)
from lro_gateway.commands.storing import with_store
from lro_gateway.config import loading
from lro_gateway.config.exposed_files import exposed_files
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.plaintext import plaintext_secrets
from lro_gateway.config.store import StoreConfig
from lro_gateway.errors import StatusError, escaped
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import Location
from lro_gateway.serving.http import serve_http, serve_stdio
from lro_gateway.serving.logs import configure_logging, flush_log
from lro_gateway.serving.scratch import scratch_directory
from lro_gateway.serving.signals import (
    STOP_LIMIT,
    end_after_stdin,
    ignore_hangup,
    stop_on_signals,
)
from lro_gateway.serving.worker import WorkerError
from lro_gateway.serving.workers import serve_by_workers

logger: Final = logging.getLogger("lro-gateway")

_T = TypeVar("_T")
_PARENT_LIMIT: Final = 3.0
"""Seconds that the parent of workers may take to stop beyond the limit of its workers."""
_EXPOSED = (
    "{} can be reached from other machines, and callers are not identified, so anyone could cancel"
    " and delete operations. Add the table [auth] to the configuration, or pass --allow-anonymous"
    " to serve there anyway"
)
_STOPPING: Final = "stopping, because of a signal"
_NAMED: Final = 10
"""The maximum number of backends that the first line of the log names."""
_stdout = Console(highlight=False, emoji=False)
_stderr = Console(stderr=True, highlight=False, emoji=False)

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


def serve(  # noqa: PLR0913 - each parameter is an option of the command
    backend: Backends = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    *,
    stdio: Stdio = False,
    allow_anonymous: AllowAnonymous = False,
    workers: Workers = 1,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    access_log: AccessLog = False,
) -> None:
    """Serve the operations of backends: MCP at /mcp, REST at /v1, documentation at /docs."""
    options = _options(host, port, log_level, log_format, access_log)
    settings = _settings(backend, config, options, stdio, allow_anonymous, workers)
    settings, note = _stored(settings, workers=workers, stdio=stdio)
    configure_logging(settings.logs)
    for warning in (*exposed_files(settings), *plaintext_secrets(settings)):
        logger.warning("%s", warning)
    if note:
        logger.info("%s", note)
    address = settings.server.address
    if workers > 1:
        _run(lambda: _serve_by_workers(settings, workers), address)
    else:
        _run(lambda: _serve_stdio(settings) if stdio else _serve_http(settings), address)


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
        _loaded(None, [], _options(None, None, log_level or "warning", log_format)).logs
    )
    _run(lambda: _show(port, opens_page=opens_page), f"127.0.0.1:{port or 0}")


def check(  # noqa: PLR0913 - each parameter is an option of the command
    words: explain_options.Words = None,
    backend: Backends = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    *,
    stdio: Stdio = False,
    allow_anonymous: AllowAnonymous = False,
    workers: Workers = 1,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    access_log: AccessLog = False,
    as_: explain_options.As = None,
    issuer: explain_options.Issuer = "",
    scopes: explain_options.Scopes = "",
    groups: explain_options.Groups = "",
    client: explain_options.Client = "",
    args: explain_options.Args = "",
) -> None:
    """Show what serve would offer with these options. Exit with 1 if there are problems.

    With --as, show instead which rule of the policy decides on a call, and exit with 1 if it is
    refused.
    """
    options = _options(host, port, log_level or "error", log_format, access_log)
    asked = AsOptions(as_ or "", issuer, scopes, groups, client, args, words or ())
    if as_ is not None:
        _explain(backend, config, options, asked)
    if needing := asked.first_given:
        _fail([f"{needing} needs --as, which says who calls"])
    settings = _settings(backend, config, options, stdio, allow_anonymous, workers)
    settings, _ = _stored(settings, workers=workers, stdio=stdio)
    configure_logging(settings.logs)
    found = _run(lambda: _check(settings, listens=not stdio))
    for line in lines(found):
        _stdout.print(line.text, style=line.style, soft_wrap=True, markup=False)
    if found.problems:
        raise typer.Exit(1)


def _explain(
    backend: list[str] | None,
    config: Path | None,
    options: Mapping[str, Mapping[str, object]],
    asked: AsOptions,
) -> NoReturn:
    """Print which rule decides on a call. The process ends with 0 if the call is allowed."""
    targets, name = split_backends(backend)
    settings = _settings(targets, config, options, stdio=False, allow_anonymous=True, workers=1)
    configure_logging(settings.logs)
    try:
        question = question_of(asked, name)
        answers = _run(lambda: explained(settings, question))
    except (ValueError, StatusError) as error:
        _fail([str(error)])
    for line in explained_lines(asked.who or "an anonymous caller", question, answers):
        _stdout.print(escaped(line), soft_wrap=True, markup=False)
    raise typer.Exit(0 if all(each.explanation.allowed for each in answers) else 1)


async def _check(settings: GatewayConfig, *, listens: bool) -> Check:
    # A gateway that runs may hold the lock of the store, so the check does not open the store.
    # Approvals need one, so the check of them has a store of its own.
    with scratch_directory() as directory:
        own = StoreConfig()
        if not settings.store.location.is_nowhere and any(e.approval for e in settings.backends):
            own = StoreConfig(url=Location(directory / "store.sqlite3"))
        checked = settings.model_copy(update={"store": own})
        async with Gateway.open(checked) as gateway:
            return await checking.check(gateway, listens=listens, store=settings.store.location)


async def _serve_http(settings: GatewayConfig) -> None:
    stop = stop_on_signals()
    async with Gateway.open(settings) as gateway, serve_http(gateway) as server:
        _announce(settings, _at(server.url))
        await stop.wait()
        logger.info(_STOPPING)


async def _serve_by_workers(settings: GatewayConfig, count: int) -> None:
    # The parent ends after its workers, which it kills after `STOP_LIMIT`.
    stop = stop_on_signals(STOP_LIMIT + _PARENT_LIMIT)
    async with serve_by_workers(settings, count) as workers:
        if (address := await race(workers.listening(), stop.wait())) is not None:
            _announce(settings, _at(f"{settings.server.scheme}://{address}"), count)
            await stop.wait()
            logger.info(_STOPPING)


def _at(url: str) -> str:
    return f"REST {url}/v1, MCP {url}/mcp"


def _announce(settings: GatewayConfig, faces: str, processes: int = 1) -> None:
    """Log what is served, in one line."""
    names = [backend.name for backend in settings.backends]
    listed = ", ".join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])
    logger.info(
        "%s; version %s, %s (%s), %s",
        faces,
        __version__,
        _count(len(names), "backend", "backends"),
        listed,
        _count(processes, "process", "processes"),
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


async def _serve_stdio(settings: GatewayConfig) -> None:
    # A thread that reads stdin cannot be interrupted, so Ctrl-C ends the whole process at once.
    # This loses nothing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ignore_hangup()
    end_after_stdin()
    async with Gateway.open(settings) as gateway:
        _announce(settings, "MCP on stdin and stdout")
        await serve_stdio(gateway)


async def _show(port: int | None, *, opens_page: bool) -> None:
    await show(port, stop_on_signals().wait, opens_page=opens_page)


def _settings(
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
        _fail(["--workers cannot be used with --stdio, because no address is shared over stdio"])
    loaded = _loaded(config, backends or [], options)
    if not loaded.backends:
        cure = f", or add [[backends]] to {config}" if config else " or --config FILE"
        _fail([f"no backend is configured: give --backend HOST:PORT{cure}"])
    identifies = loaded.auth is not None and loaded.auth.identifies_http
    if not (stdio or loaded.server.is_loopback or identifies or allow_anonymous):
        _fail([_EXPOSED.format(loaded.server.host)])
    return loaded


def _stored(settings: GatewayConfig, *, workers: int, stdio: bool) -> tuple[GatewayConfig, str]:
    """Return what `with_store` returns. The process ends with status 2 if there is a mistake."""
    try:
        return with_store(settings, workers=workers, stdio=stdio)
    except ConfigError as error:
        _fail(error.mistakes)


def _options(
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


def _loaded(
    config: Path | None, backends: list[str], options: Mapping[str, Mapping[str, object]]
) -> GatewayConfig:
    """Return the configuration. The process ends with status 2 if it has mistakes."""
    try:
        return loading.load(config, backends, options)
    except ConfigError as error:
        _fail(error.mistakes)


def _run(main: Callable[[], Coroutine[Any, Any, _T]], address: str = "") -> _T:
    """Run `main` and return its result.

    The process ends with status 2 if the configuration has a mistake, or if the address cannot be
    bound. It ends with status 1 if a worker cannot start.
    """
    try:
        return uvloop.run(main())
    except* ConfigError as group:
        _fail([mistake for error in _leaves(group) for mistake in str(error).splitlines()])
    except* OSError as group:
        problems = [error for error in _leaves(group) if isinstance(error, OSError)]
        _fail([checking.cannot_listen(address, error) for error in problems])
    except* WorkerError as group:
        _fail([str(error) for error in _leaves(group)], status=1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def _fail(mistakes: Sequence[str], status: int = 2) -> NoReturn:
    flush_log()
    for mistake in mistakes:
        _stderr.print(f"lro-gateway: {escaped(mistake)}", style="red", soft_wrap=True, markup=False)
    raise typer.Exit(status)
