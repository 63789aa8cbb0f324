"""The request for a list of the operations that a caller has started.

Both faces parse it in the same way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lro_gateway.descriptors.choices import choices
from lro_gateway.descriptors.scalars import shown
from lro_gateway.errors import invalid_argument
from lro_gateway.principal import Principal
from lro_gateway.records.entries import ENTRY_STATES, EntryState, Query
from lro_gateway.service.page_sizes import ARGUMENT, page_size
from lro_gateway.service.verb_requests import unknown_argument

_PAGE_SIZE: Final = 20
_MAX_PAGE_SIZE: Final = 100
_TEXTS: Final = ("state", "method", "backend", "text", "since", "until", "pageToken")
ARGUMENTS: Final = (*_TEXTS, "tenant", ARGUMENT)


@dataclass(frozen=True, slots=True)
class MineRequest:
    """Which of the started operations to list. An empty field selects all.

    `method` and `text` are parts of texts, in any case. With `tenant`, those of the caller's whole
    tenant are listed.
    """

    state: EntryState | None = None
    method: str = ""
    backend: str = ""
    text: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    tenant: bool = False
    page_size: int = _PAGE_SIZE
    page_token: str = ""

    @property
    def selection(self) -> tuple[str, ...]:
        """The values that select, for the context of a page token."""
        times = (each.isoformat() if each else "" for each in (self.since, self.until))
        state = self.state.value if self.state else ""
        return (state, self.method, self.backend, self.text, *times, str(self.tenant))

    def query(self, caller: Principal, before: str) -> Query:
        """Return the query of the journal. `before` is where the last page ended."""
        return Query(
            caller,
            self.page_size,
            of_tenant=self.tenant,
            state=self.state,
            method=self.method,
            backend=self.backend,
            text=self.text,
            since=self.since,
            until=self.until,
            before=before,
        )


def parse_mine(arguments: Mapping[str, Any]) -> MineRequest:
    """Parse the arguments of a tool or of a query. Raise INVALID_ARGUMENT for a wrong one.

    A page size of 0 means the default, and a large one is reduced (AIP-158).
    """
    for name in arguments:
        if name not in ARGUMENTS:
            raise unknown_argument(name, ARGUMENTS)
    texts = {name: _string(name, arguments.get(name)) for name in _TEXTS}
    return MineRequest(
        _state(texts["state"]),
        texts["method"],
        texts["backend"],
        texts["text"],
        _time("since", texts["since"]),
        _time("until", texts["until"]),
        _boolean("tenant", arguments.get("tenant")),
        page_size(arguments.get(ARGUMENT), default=_PAGE_SIZE, most=_MAX_PAGE_SIZE),
        texts["pageToken"],
    )


def _string(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid_argument(name, f"a string is needed, not {shown(value)}")
    return value


def _state(value: str) -> EntryState | None:
    if not value:
        return None
    try:
        return EntryState(value)
    except ValueError:
        problem = f"one of {choices(ENTRY_STATES, value)} is needed, not {shown(value)}"
        raise invalid_argument("state", problem) from None


def _time(name: str, value: str) -> dt.datetime | None:
    if not value:
        return None
    try:
        time = dt.datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return time.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        pass
    problem = f"a time such as 2026-01-02T03:04:05Z is needed, not {shown(value)}"
    raise invalid_argument(name, problem)


def _boolean(name: str, value: Any) -> bool:
    if value is None or value is False or value in ("", "false"):
        return False
    if value is True or value == "true":
        return True
    raise invalid_argument(name, f"true or false is needed, not {shown(value)}")
