"""The facts that the gateway knows of an operation because it was started here."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple


class Begun(NamedTuple):
    """How an operation began, and when the gateway last saw a change.

    `method` is the method that started it, such as `acme.v1.Databases/CreateDatabase`. `state` is
    the state that was last written.
    """

    method: str
    started: dt.datetime
    changed: dt.datetime
    state: str
