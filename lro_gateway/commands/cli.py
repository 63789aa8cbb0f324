"""The command line of `lro-gateway`.

A command is imported when it runs. Measured: to import the server takes two seconds, and a command
that only asks a gateway needs nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final

import typer
from typer.core import TyperGroup

from lro_gateway import __version__
from lro_gateway.commands.streams import (
    hold_standard_streams,
    output_that_may_fail,
    print_every_character,
)
from lro_gateway.records.importing import imported


@dataclass(frozen=True, slots=True)
class _Command:
    """Where the function of a command is, its short help text, and examples of its arguments."""

    module: str
    function: str
    help: str
    examples: tuple[str, ...] = ()

    def load(self, name: str, group: str) -> Any:
        """Import the command. `group` is what stands before its name on the command line."""
        module = imported(f"lro_gateway.commands.{self.module}")
        single = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
        )
        lines = [f"  {group} {name} {example}".rstrip() for example in self.examples]
        # The mark keeps the lines as they are.
        epilog = "\n".join(["\b", "Examples:", *lines]) if lines else None
        single.command(name, epilog=epilog)(getattr(module, self.function))
        return typer.main.get_command(single)


class _Group(TyperGroup):
    """A group of commands, whose help needs none of their modules."""

    known: ClassVar[Mapping[str, _Command]]
    path: ClassVar[str]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the names need no context
        """Return the names of the commands."""
        return [*self.commands, *self.known]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command, or return None if there is no such command."""
        found = self.known.get(cmd_name)
        if found is None:
            return super().get_command(ctx, cmd_name)
        return found.load(cmd_name, self.path)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as above
        """Write the names and short help texts of the commands."""
        groups = [(name, each.get_short_help_str(100)) for name, each in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*((name, each.help) for name, each in self.known.items()), *groups])


class _Commands(_Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command of the arguments, and end the process."""
        with output_that_may_fail():
            return super().main(*args, **kwargs)

    path = "lro-gateway"
    known = MappingProxyType(
        {
            "serve": _Command(
                "serving",
                "serve",
                "Serve the operations of backends.",
                (
                    "--backend 127.0.0.1:50051",
                    "--config gateway.toml --workers 4",
                ),
            ),
            "check": _Command(
                "checking",
                "check",
                "Show what serve would offer, and any problem.",
                ("--config gateway.toml",),
            ),
            "demo": _Command("demo", "demo", "Run the gateway in front of a demo backend."),
            "call": _Command(
                "call",
                "call",
                "Call a method, for example to start an operation.",
                (
                    "CreateDatabase --field databaseId=orders --wait",
                    """CreateDatabase '{"databaseId": "orders"}' --format 'value(name)'""",
                ),
            ),
        }
    )


class _Store(_Group):
    path = "lro-gateway store"
    known = MappingProxyType(
        {
            "upgrade": _Command(
                "storing", "upgrade", "Bring its schema up to date.", ("--config gateway.toml",)
            ),
        }
    )


class _Operations(_Group):
    path = "lro-gateway operations"
    known = MappingProxyType(
        {
            "list": _Command(
                "listing",
                "list_operations",
                "List which run, which failed, and how far they are.",
                (
                    "--state running",
                    "--state failed --since 1h",
                    "--format 'value(name,summary.percent)'",
                    "--backend 127.0.0.1:50051",
                ),
            ),
            "describe": _Command(
                "describing",
                "describe",
                "Show an operation, and why it failed.",
                ("databases/orders/operations/9f1c", "9f1c --raw"),
            ),
            "wait": _Command(
                "waiting",
                "wait",
                "Wait until operations are done.",
                (
                    "9f1c --timeout 10m",
                    "9f1c 4b02 --any",
                ),
            ),
            "tail": _Command(
                "tailing",
                "tail",
                "Print each change of an operation.",
                (
                    "9f1c",
                    "9f1c --format json",
                ),
            ),
            "cancel": _Command(
                "ending", "cancel", "Request that operations be cancelled.", ("9f1c --wait",)
            ),
            "delete": _Command("ending", "delete", "Delete the records of operations.", ("9f1c",)),
        }
    )


class _Approvals(_Group):
    path = "lro-gateway approvals"
    known = MappingProxyType(
        {
            "list": _Command(
                "approvals",
                "list_approvals",
                "List the calls that wait for an approval.",
                ("", "--state any --format json"),
            ),
            "describe": _Command(
                "approvals", "describe", "Show a call, and who asks for it.", ("019b7e0c",)
            ),
            "approve": _Command(
                "approvals", "approve", "Approve a call.", ("019b7e0c --reason 'ticket 7'",)
            ),
            "refuse": _Command(
                "approvals", "refuse", "Refuse a call.", ("019b7e0c --reason 'not today'",)
            ),
        }
    )


class _Webhooks(_Group):
    path = "lro-gateway webhooks"
    known = MappingProxyType(
        {
            "list": _Command(
                "webhooks", "list_webhooks", "List your webhooks.", ("", "--format 'value(id,url)'")
            ),
            "describe": _Command(
                "webhooks",
                "describe",
                "Show a webhook, and why its deliveries fail.",
                ("wh_019b7e0c",),
            ),
            "create": _Command(
                "webhooks",
                "create",
                "Send events to a URL.",
                (
                    "https://hooks.acme.example/lro --method CreateDatabase --mine",
                    "https://hooks.acme.example/lro --operation 9f1c --format 'value(secret)'",
                ),
            ),
            "rotate-secret": _Command(
                "webhooks", "rotate_secret", "Replace the secret.", ("wh_019b7e0c",)
            ),
            "enable": _Command("webhooks", "enable", "Send events again.", ("wh_019b7e0c",)),
            "disable": _Command("webhooks", "disable", "Send nothing for now.", ("wh_019b7e0c",)),
            "delete": _Command("webhooks", "delete", "End a webhook.", ("wh_019b7e0c",)),
            "deliveries": _Command(
                "webhooks",
                "deliveries",
                "List what was sent, and what failed.",
                ("wh_019b7e0c --state dead",),
            ),
            "redeliver": _Command(
                "webhooks",
                "redeliver",
                "Send deliveries again.",
                ("wh_019b7e0c 019b7e0d", "wh_019b7e0c --since 1h"),
            ),
        }
    )


class _Token(_Group):
    path = "lro-gateway token"
    known = MappingProxyType(
        {
            "new": _Command(
                "token",
                "new",
                "Make a static token for a caller.",
                (
                    "--subject ci --tenant infra --scopes read,start --expires 90d",
                    "--subject ana --groups oncall,data",
                ),
            ),
        }
    )


_SETTINGS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "no_args_is_help": True,
        "pretty_exceptions_enable": False,
        # With markup, rich would hide text in brackets, such as [default: 8080].
        "rich_markup_mode": None,
    }
)
app = typer.Typer(name="lro-gateway", cls=_Commands, invoke_without_command=True, **_SETTINGS)
operations = typer.Typer(
    cls=_Operations, help="List, describe, follow, cancel and delete operations.", **_SETTINGS
)
app.add_typer(operations, name="operations")
approvals = typer.Typer(
    cls=_Approvals, help="List, describe, approve and refuse calls that wait.", **_SETTINGS
)
app.add_typer(approvals, name="approvals")
webhooks = typer.Typer(
    cls=_Webhooks, help="List, make, change and end webhooks, and redeliver events.", **_SETTINGS
)
app.add_typer(webhooks, name="webhooks")
store = typer.Typer(cls=_Store, help="Look after the store of a gateway.", **_SETTINGS)
app.add_typer(store, name="store")
token = typer.Typer(cls=_Token, help="Make static tokens for callers.", **_SETTINGS)
app.add_typer(token, name="token")


@operations.callback()
def _operations() -> None:
    """List, describe, follow, cancel and delete operations."""


@approvals.callback()
def _approvals() -> None:
    """List, describe, approve and refuse calls that wait."""


@webhooks.callback()
def _webhooks() -> None:
    """List, make, change and end webhooks, and redeliver events."""


@store.callback()
def _store() -> None:
    """Look after the store of a gateway."""


@token.callback()
def _token() -> None:
    """Make static tokens for callers."""


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True)
    ] = False,
) -> None:
    """Long-running operations of your gRPC services, as MCP tools and as a REST mirror."""
    hold_standard_streams()
    print_every_character()
    if version:
        typer.echo(__version__)
        raise typer.Exit
