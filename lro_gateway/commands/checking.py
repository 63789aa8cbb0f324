"""The command check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import typer

from lro_gateway.commands import check as checks
from lro_gateway.commands import explain_options
from lro_gateway.commands.check import Check
from lro_gateway.commands.check_words import lines
from lro_gateway.commands.explaining import (
    AsOptions,
    explained,
    explained_lines,
    question_of,
    split_backends,
)
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
    fail,
    options_of,
    run,
    settings_of,
    stored,
)
from lro_gateway.commands.options import stdout
from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.store import StoreConfig
from lro_gateway.errors import StatusError, escaped
from lro_gateway.gateway import Gateway
from lro_gateway.records.location import Location
from lro_gateway.serving.logs import configure_logging
from lro_gateway.serving.scratch import scratch_directory


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
    options = options_of(host, port, log_level or "error", log_format, access_log)
    asked = AsOptions(as_ or "", issuer, scopes, groups, client, args, words or ())
    if as_ is not None:
        _explain(backend, config, options, asked)
    if needing := asked.first_given:
        fail([f"{needing} needs --as, which says who calls"])
    settings = settings_of(backend, config, options, stdio, allow_anonymous, workers)
    settings, _ = stored(settings, workers=workers, stdio=stdio)
    configure_logging(settings.logs)
    found = run(lambda: _check(settings, listens=not stdio))
    for line in lines(found):
        stdout.print(line.text, style=line.style, soft_wrap=True, markup=False)
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
    settings = settings_of(targets, config, options, stdio=False, allow_anonymous=True, workers=1)
    configure_logging(settings.logs)
    try:
        question = question_of(asked, name)
        answers = run(lambda: explained(settings, question))
    except (ValueError, StatusError) as error:
        fail([str(error)])
    for line in explained_lines(asked.who or "an anonymous caller", question, answers):
        stdout.print(escaped(line), soft_wrap=True, markup=False)
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
            return await checks.check(gateway, listens=listens, store=settings.store.location)
