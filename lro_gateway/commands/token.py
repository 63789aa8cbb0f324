"""The command `token new`: a static token for a caller, and the line for the file of tokens."""

from __future__ import annotations

import math
import re
import time
from typing import Annotated, Final

import durationpy
import typer

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.commands.options import fail, stderr

_DAYS: Final = re.compile(r"(?P<days>[0-9]{1,5})d(?P<rest>.*)\Z")
_DAY: Final = 86400.0
_LONGEST: Final = 36_500 * _DAY


def new(
    subject: Annotated[
        str, typer.Option(metavar="NAME", help="Who has the token, such as ci.", show_default=False)
    ],
    tenant: Annotated[
        str, typer.Option(metavar="NAME", help="The organization that the caller acts for.")
    ] = "",
    scopes: Annotated[
        str, typer.Option(metavar="SCOPE,...", help="What the token grants, such as read,start.")
    ] = "",
    groups: Annotated[
        str, typer.Option(metavar="GROUP,...", help="The groups that the caller belongs to.")
    ] = "",
    expires: Annotated[
        str, typer.Option(metavar="DURATION", help="The life of the token, such as 90d or 12h.")
    ] = "",
) -> None:
    """Print a new token, and the line for the file that the setting auth.tokens names.

    The first line on stdout is the token, which is printed only this once. The second line has its
    hash. Append the second line to the file. A running gateway reads the file again.
    """
    if not subject:
        fail("--subject is empty; write who has the token, such as --subject ci")
    for name, text in (("--subject", subject), ("--tenant", tenant)):
        if not text.isprintable():
            fail(f"{name} has characters that cannot be printed")
    token, entry = new_token(
        subject,
        tenant=tenant,
        groups=_parts("--groups", groups),
        scopes=_parts("--scopes", scopes),
        expires=time.time() + _seconds(expires) if expires else math.inf,
    )
    stderr.print(
        "The first line is the token. Keep it secret; it is not printed again."
        " Append the second line to the file of auth.tokens.",
        soft_wrap=True,
    )
    typer.echo(token)
    typer.echo(entry.line)


def _parts(option: str, text: str) -> list[str]:
    parts = [each.strip() for each in text.split(",")] if text else []
    if not all(part and part.isprintable() for part in parts):
        fail(f"{option} needs names with commas between them, such as read,start")
    if option == "--scopes":
        # OAuth writes scopes with blanks between them, and no scope has one.
        return [scope for part in parts for scope in part.split()]
    return parts


def _seconds(text: str) -> float:
    """Return the seconds of a duration, which may begin with days, such as `90d`."""
    matched = _DAYS.match(text)
    days, rest = (int(matched["days"]), matched["rest"]) if matched else (0, text)
    try:
        seconds = days * _DAY + (durationpy.from_str(rest).total_seconds() if rest else 0.0)
    except durationpy.DurationError:
        fail(f"--expires {text!r} is no duration, such as 90d, 12h or 1d12h")
    if not 0 < seconds <= _LONGEST:
        fail(f"--expires {text!r} must be more than 0s and at most 36500d")
    return seconds
