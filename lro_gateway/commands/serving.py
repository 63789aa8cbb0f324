"""The command serve."""

from __future__ import annotations

import logging
import signal
from typing import Final

from lro_gateway import __version__
from lro_gateway.background import race
from lro_gateway.commands.gateway_options import (
    AccessLog,
    AllowAnonymous,
    Backends,
    Config,
    Host,
    LogFormat,
    LogLevel,
    Port,
    Stdio,
    Workers,
    options_of,
    run,
    settings_of,
    stored,
)
from lro_gateway.config.exposed_files import exposed_files
from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.plaintext import plaintext_secrets
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http, serve_stdio
from lro_gateway.serving.logs import configure_logging
from lro_gateway.serving.signals import (
    STOP_LIMIT,
    end_after_stdin,
    ignore_hangup,
    stop_on_signals,
)
from lro_gateway.serving.workers import serve_by_workers

logger: Final = logging.getLogger("lro-gateway")

_PARENT_LIMIT: Final = 3.0
"""Seconds that the parent of workers may take to stop beyond the limit of its workers."""
_STOPPING: Final = "stopping, because of a signal"
_NAMED: Final = 10
"""The maximum number of backends that the first line of the log names."""


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
    options = options_of(host, port, log_level, log_format, access_log)
    settings = settings_of(backend, config, options, stdio, allow_anonymous, workers)
    settings, note = stored(settings, workers=workers, stdio=stdio)
    configure_logging(settings.logs)
    for warning in (*exposed_files(settings), *plaintext_secrets(settings)):
        logger.warning("%s", warning)
    if note:
        logger.info("%s", note)
    address = settings.server.address
    if workers > 1:
        run(lambda: _serve_by_workers(settings, workers), address)
    else:
        run(lambda: _serve_stdio(settings) if stdio else _serve_http(settings), address)


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
