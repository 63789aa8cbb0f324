"""`lro-gateway webhooks`: the URLs to which a gateway sends events, and what was sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lro_gateway.commands import options
from lro_gateway.commands.options import (
    Format,
    Gateway,
    Keyring,
    TokenFile,
    connection_of,
    run,
    stderr,
    width_of_table,
    write,
)
from lro_gateway.commands.terminal.completion import webhook_ids
from lro_gateway.commands.terminal.failures import CommandError, Exit
from lro_gateway.commands.terminal.formats import TABLE, checked_format
from lro_gateway.commands.terminal.names import full_name, one_of
from lro_gateway.commands.terminal.times import time_ago
from lro_gateway.commands.terminal.webhook_client import Webhooks
from lro_gateway.commands.terminal.webhook_texts import (
    deliveries_table,
    webhook_text,
    webhooks_table,
)
from lro_gateway.errors import escaped

_LIMIT: Final = 100
_LOOKED_AT: Final = 1000
"""The number of deliveries among which a part of an id is looked up."""
_STATES: Final = ("pending", "delivered", "dead")
_WHOLE: Final = 32
"""The length of the id of a delivery."""

Id = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The id, or its beginning or its end if only one webhook has it.",
        autocompletion=webhook_ids,
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="Show at most this many.")]
Events = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EVENT",
        help="An event such as operation.progress; repeat the option for more. By default"
        " operation.done.",
        show_default=False,
    ),
]
Operation = Annotated[str, typer.Option(metavar="NAME", help="Only events of this operation.")]
OnBackend = Annotated[
    str, typer.Option(metavar="NAME", help="Only operations of this backend of the gateway.")
]
OfMethod = Annotated[
    str, typer.Option(metavar="METHOD", help="Only operations of this method, or */Create*.")
]
States = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STATE",
        help="Only operations in this state; repeat the option for more.",
        show_default=False,
    ),
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file",
        metavar="FILE",
        help="A file with a secret of your own, whsec_ and base64. Without it the gateway makes"
        " one.",
        show_default=False,
    ),
]


def list_webhooks(
    *,
    gateway: Gateway = options.URL,
    token_file: TokenFile = None,
    limit: Limit = _LIMIT,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """List your webhooks: where events go, and whether they arrive."""

    async def work(webhooks: Webhooks, form: str) -> None:
        found = list(await webhooks.list(limit))
        if form == TABLE and not found:
            stderr.print("no webhooks")
        else:
            write(form, found, lambda: webhooks_table(found, _now(), width_of_table()))

    _run(work, gateway, token_file, format, keyring=keyring, cut=Exit.SUCCEEDED)


def describe(
    id_: Id,
    gateway: Gateway = options.URL,
    token_file: TokenFile = None,
    *,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Describe a webhook: its URL and events, and why deliveries fail."""

    async def work(webhooks: Webhooks, form: str) -> None:
        found = await webhooks.get(await webhooks.whole_id(id_))
        write(form, found, lambda: webhook_text(found, _now()))

    _run(work, gateway, token_file, format, keyring=keyring, cut=Exit.SUCCEEDED)


def create(  # noqa: PLR0913 - each parameter is an option of the command
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the events go.")],
    *,
    gateway: Gateway = options.URL,
    token_file: TokenFile = None,
    event: Events = None,
    operation: Operation = "",
    backend: OnBackend = "",
    method: OfMethod = "",
    state: States = None,
    mine: Annotated[
        bool, typer.Option("--mine", help="Only operations that you or your tenant started.")
    ] = False,
    cloudevents: Annotated[
        bool, typer.Option("--cloudevents", help="Send CloudEvents 1.0 in the structured mode.")
    ] = False,
    secret_file: SecretFile = None,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Send events to a URL. The answer has the secret, which is shown only now."""
    selection = {
        "events": event,
        "backend": backend,
        "method": method,
        "states": state,
        "mine": mine,
        "format": "cloudevents" if cloudevents else "event",
        **_secret(secret_file),
    }

    async def work(webhooks: Webhooks, form: str) -> None:
        name = await full_name(webhooks.client, operation) if operation else ""
        given = {"url": url, "operation": name, **selection}
        made = await webhooks.create({key: value for key, value in given.items() if value})
        write(form, made, lambda: webhook_text(made, _now()))
        stderr.print("The secret is shown only now. Give it to the receiver.", soft_wrap=True)

    _run(work, gateway, token_file, format, keyring=keyring)


def rotate_secret(
    id_: Id,
    gateway: Gateway = options.URL,
    token_file: TokenFile = None,
    *,
    secret_file: SecretFile = None,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Replace the secret of a webhook, and print the new one. For a day the old ones sign too."""
    body = _secret(secret_file)

    async def work(webhooks: Webhooks, form: str) -> None:
        rotated = await webhooks.rotate(await webhooks.whole_id(id_), body)
        write("value(secret)" if form == TABLE else form, rotated)
        stderr.print("The secret is shown only now. For 24 hours the old ones sign too.")

    _run(work, gateway, token_file, format, keyring=keyring)


def enable(
    id_: Id,
    gateway: Gateway = options.URL,
    token_file: TokenFile = None,
    *,
    keyring: Keyring = False,
) -> None:
    """Send events again to a webhook that was disabled."""
    _set_state("enable", id_, gateway, token_file, keyring=keyring)


def disable(
    id_: Id,
    gateway: Gateway = options.URL,
    token_file: TokenFile = None,
    *,
    keyring: Keyring = False,
) -> None:
    """Send nothing to a webhook until it is enabled."""
    _set_state("disable", id_, gateway, token_file, keyring=keyring)


def _set_state(
    verb: str, id_: str, gateway: str, token_file: Path | None, *, keyring: bool
) -> None:
    async def work(webhooks: Webhooks, _form: str) -> None:
        changed = await webhooks.set_state(await webhooks.whole_id(id_), verb)
        stderr.print(f"{escaped(changed['id'])} is {escaped(changed['state'])}", markup=False)

    _run(work, gateway, token_file, TABLE, keyring=keyring)


def delete(
    id_: Id,
    gateway: Gateway = options.URL,
    token_file: TokenFile = None,
    *,
    keyring: Keyring = False,
) -> None:
    """End a webhook. Deliveries that have not arrived are not sent any more."""

    async def work(webhooks: Webhooks, _form: str) -> None:
        whole = await webhooks.whole_id(id_)
        await webhooks.delete(whole)
        stderr.print(f"deleted: {escaped(whole)}", markup=False)

    _run(work, gateway, token_file, TABLE, keyring=keyring)


def deliveries(
    id_: Id,
    gateway: Gateway = options.URL,
    token_file: TokenFile = None,
    *,
    state: Annotated[
        str, typer.Option(metavar="STATE", help="Only those that are pending, delivered or dead.")
    ] = "",
    limit: Limit = _LIMIT,
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """List the deliveries of a webhook, the newest first."""

    async def work(webhooks: Webhooks, form: str) -> None:
        if state and state not in _STATES:
            raise CommandError(f"there is no state {state!r}; use one of {', '.join(_STATES)}")
        found = await webhooks.deliveries(await webhooks.whole_id(id_), state, limit)
        _write_deliveries(form, list(found), "no deliveries")

    _run(work, gateway, token_file, format, keyring=keyring, cut=Exit.SUCCEEDED)


def redeliver(
    id_: Id,
    delivery: Annotated[
        str | None,
        typer.Argument(
            metavar="DELIVERY",
            help="The id of one delivery, or its beginning or its end; without it, all that have"
            " not arrived.",
            show_default=False,
        ),
    ] = None,
    gateway: Gateway = options.URL,
    token_file: TokenFile = None,
    *,
    since: Annotated[
        str, typer.Option(metavar="DURATION", help="Only deliveries of the last 1h, for example.")
    ] = "",
    keyring: Keyring = False,
    format: Format = options.FORMAT,  # noqa: A002 - it is the name of the option
) -> None:
    """Send one delivery again now, or all that have not arrived."""

    async def work(webhooks: Webhooks, form: str) -> None:
        if delivery is not None and since:
            raise CommandError("--since selects among the deliveries, so give it or DELIVERY")
        whole = await webhooks.whole_id(id_)
        if delivery is not None:
            again = [await webhooks.redeliver(whole, await _delivery(webhooks, whole, delivery))]
        else:
            begin = time_ago(since).isoformat() if since else ""
            again = list(await webhooks.redeliver_all(whole, begin))
        _write_deliveries(form, again, "nothing to send again")
        if (webhook := await webhooks.get(whole))["state"] != "active":
            cure = f"`lro-gateway webhooks enable {whole}` lets it get them"
            stderr.print(
                f"{whole} is {webhook['state']}, so nothing is sent: {cure}", soft_wrap=True
            )

    _run(work, gateway, token_file, format, keyring=keyring)


async def _delivery(webhooks: Webhooks, whole: str, given: str) -> str:
    """Return the id of the one delivery whose id begins or ends with the given text."""
    if len(given) == _WHOLE:
        return given
    ids = [str(each["id"]) for each in await webhooks.deliveries(whole, "", _LOOKED_AT)]
    cure = f"`lro-gateway webhooks deliveries {whole}` shows the ids"
    return one_of(ids, given, "delivery", cure)


def _write_deliveries(form: str, found: list[Any], nothing: str) -> None:
    if form == TABLE and not found:
        stderr.print(nothing)
    else:
        write(form, found, lambda: deliveries_table(found, _now(), width_of_table()))


def _secret(file: Path | None) -> dict[str, str]:
    """Return the secret in a file as a field of a request, or no field without a file."""
    if file is None:
        return {}
    try:
        return {"secret": file.read_text().strip()}
    except (OSError, UnicodeDecodeError) as error:
        return options.fail(f"cannot read the secret file: {error}")


def _run(
    work: Callable[[Webhooks, str], Awaitable[None]],
    gateway: str,
    token_file: Path | None,
    form: str,
    *,
    keyring: bool,
    cut: int = Exit.CUT,
) -> None:
    connection = connection_of(gateway, None, token_file, keyring)

    async def worked(client: Any) -> int:
        await work(Webhooks(client), checked_format(form))
        return Exit.SUCCEEDED

    run(connection, worked, cut=cut)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
