"""The options of `check --as`, which ask for the decision of the policy on a call."""

from __future__ import annotations

from typing import Annotated

import typer

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[VERB [NAME]]",
        help="With --as: a verb of the policy, and the name of an operation or of a method.",
        show_default=False,
    ),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="SUBJECT[@TENANT]",
        help="Show which rule decides if this caller makes the call, and why. A subject with an @"
        " and no tenant ends with @, as ana@acme.example@."
        " --backend NAME then chooses a backend of the configuration.",
        show_default=False,
    ),
]
Issuer = Annotated[str, typer.Option(metavar="URL", help="The caller's issuer.")]
Scopes = Annotated[
    str,
    typer.Option(
        metavar="SCOPES",
        help="The caller's scopes, with blanks or commas between them.",
    ),
]
Groups = Annotated[
    str,
    typer.Option(
        metavar="GROUPS",
        help="The caller's groups, with blanks or commas between them.",
    ),
]
Client = Annotated[str, typer.Option(metavar="ID", help="The caller's OAuth client.")]
Args = Annotated[
    str,
    typer.Option(metavar="JSON", help="The arguments of the method."),
]
