"""The operations that a caller or its tenant has started, as the journal and backends have them."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from lro_gateway.access.ownership import Ownership
from lro_gateway.access.policy import OperationAction, Verb
from lro_gateway.access.sealing import Sealer, UnsealError
from lro_gateway.backends.backend import Backend
from lro_gateway.errors import JSON, Code, StatusError, invalid_argument, status_error
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.progress import rounded
from lro_gateway.principal import Principal
from lro_gateway.records.entries import Entry, EntryPage, EntryState, Journal, Knowledge
from lro_gateway.service.catalog import Catalog
from lro_gateway.service.mine_filters import MineFilters
from lro_gateway.service.mine_request import MineRequest
from lro_gateway.service.reads import Reads
from lro_gateway.service.views import Views

_PAGE_TOKEN: Final = "mine_page_token"  # noqa: S105 - the name of a purpose, not a secret
_LIMIT: Final = 1.0
"""Seconds that the reads of a page may take.

Operations that were not read by then have their state in the journal.
"""
_MAX_READS: Final = 50
_REFUSED: Final = frozenset({Code.NOT_FOUND, Code.PERMISSION_DENIED})


@dataclass(frozen=True, slots=True)
class MinePage:
    """A page of entries, the newest first."""

    entries: Sequence[Entry]
    next_page_token: str = ""


class Mine:
    """Lists what callers have started. It answers although the backends are down."""

    def __init__(
        self,
        journal: Journal | None,
        backends: Mapping[str, Backend],
        views: Views,
        reads: Reads,
        sealer: Sealer,
        catalog: Catalog,
        ownership: Ownership | None = None,
    ) -> None:
        self._journal = journal
        self._backends = backends
        self._router = views.whole
        self._policy = views.policy
        self._reads = reads
        self._sealer = sealer
        self._filters = MineFilters(catalog, views)
        self._ownership = ownership

    @property
    def is_kept(self) -> bool:
        """Whether there is a journal."""
        return self._journal is not None

    async def page(self, caller: Principal, request: MineRequest) -> MinePage:
        """Return a page of the operations that the caller, or its tenant, has started.

        Operations that run are read from their backends, but only for a second. Raises
        FAILED_PRECONDITION if the gateway has no store, and INVALID_ARGUMENT if there is no such
        backend or method for the caller.
        """
        if self._journal is None:
            raise status_error(
                Code.FAILED_PRECONDITION,
                "this gateway runs without a store, so it does not know who started what; list all"
                " operations instead",
                "NO_STORE",
            )
        position = self._position(caller, request)
        wanted = await self._filters.resolved(caller, request)
        query = wanted.query(caller, position)
        if self._ownership is not None:
            query = replace(query, personal=self._ownership.personal)
        page = await self._journal.page(query)
        page = replace(page, entries=[self._renamed(each) for each in page.entries])
        visible = await self._visible(caller, await self._allowed(caller, page))
        entries = await self._current(caller, self._journal, visible)
        # An operation that has ended since is no longer in the state that was asked for.
        shown = [each for each in entries if query.state in {None, each.state}]
        token = self._token(caller, request, page.following) if page.following else ""
        if not (shown or position):
            await self._filters.check(caller, wanted, self._journal)
        return MinePage(shown, token)

    def _renamed(self, entry: Entry) -> Entry:
        """Return the entry under the name that its operation has with the present backends."""
        if entry.name is None:
            return entry
        return replace(entry, name=self._router.present_name(entry.backend, entry.name))

    async def _allowed(self, caller: Principal, page: EntryPage) -> list[Entry]:
        """Return the entries that the policy lets the caller read, and one for each operation."""
        allowed: dict[object, Entry] = {}
        for entry in page.entries:
            if entry.name is None:
                allowed[entry.id] = entry
                continue
            action = OperationAction(Verb.GET, entry.backend, GatewayName(entry.name))
            try:
                await self._policy.authorize(caller, action)
            except StatusError as error:
                if error.code not in _REFUSED:
                    raise
            else:
                # A repeated start may have returned the same operation again.
                allowed.setdefault((entry.backend, entry.name), entry)
        return list(allowed.values())

    async def _visible(self, caller: Principal, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries but those of others that a backend does not show to the caller.

        Only a backend that is shown something of its callers, such as a token, can tell them apart.
        """
        foreign = [each for each in entries if self._is_foreign(caller, each)]
        seen = await asyncio.gather(*(self._is_seen(caller, each) for each in foreign))
        hidden = {each.id for each, is_seen in zip(foreign, seen, strict=True) if not is_seen}
        return [each for each in entries if each.id not in hidden]

    def _is_foreign(self, caller: Principal, entry: Entry) -> bool:
        if (entry.issuer, entry.subject) == (caller.issuer, caller.subject):
            return False
        backend = self._backends.get(entry.backend)
        return backend is None or backend.for_caller(caller) is not backend

    async def _current(
        self, caller: Principal, journal: Journal, entries: Sequence[Entry]
    ) -> list[Entry]:
        running = [each for each in entries if each.state is EntryState.RUNNING][:_MAX_READS]
        read = await asyncio.gather(*(self._read(caller, journal, each) for each in running))
        fresh = {each.id: each for each in read}
        return [fresh.get(each.id, each) for each in entries]

    async def _is_seen(self, caller: Principal, entry: Entry) -> bool:
        """Return whether the backend shows the operation to this caller."""
        if entry.name is None:
            return False
        try:
            async with asyncio.timeout(_LIMIT):
                await self._operation(caller, entry.name, entry.backend)
        except (StatusError, TimeoutError):
            return False
        return True

    async def _operation(self, caller: Principal, name: str, backend: str) -> Operation:
        route = self._router.find(name, backend)
        return await self._reads.get(self._backends[route.backend].for_caller(caller), route.name)

    async def _read(self, caller: Principal, journal: Journal, entry: Entry) -> Entry:
        """Return the entry with the state at its backend, or as it is if the backend fails."""
        try:
            async with asyncio.timeout(_LIMIT):
                operation = await self._operation(caller, entry.name or "", entry.backend)
            knowledge = await Knowledge.of(operation)
        except TimeoutError:
            return entry
        except StatusError as error:
            if error.code is not Code.NOT_FOUND or entry.name is None:
                return entry
            journal.lose(entry.backend, entry.name, error)
            knowledge = Knowledge.unknown(error, entry.name)
        changed = (knowledge.state, knowledge.percent) != (entry.state, entry.percent)
        return replace(
            entry,
            state=knowledge.state,
            percent=knowledge.percent,
            changed=knowledge.seen if changed else entry.changed,
            seen=knowledge.seen,
            finished=knowledge.finished,
            code=knowledge.code,
            message=knowledge.message,
        )

    def _token(self, caller: Principal, request: MineRequest, following: str) -> str:
        return self._sealer.seal(following.encode(), _PAGE_TOKEN, _context(caller, request))

    def _position(self, caller: Principal, request: MineRequest) -> str:
        if not request.page_token:
            return ""
        try:
            context = _context(caller, request)
            return self._sealer.unseal(request.page_token, _PAGE_TOKEN, context).decode()
        except UnsealError:
            raise invalid_argument(
                "pageToken",
                "this gateway did not make this token for these arguments",
                "INVALID_PAGE_TOKEN",
            ) from None


def _context(caller: Principal, request: MineRequest) -> tuple[str, ...]:
    """Return the values that must not change between pages (AIP-158)."""
    return (*caller.identity, *request.selection)


def entry_json(entry: Entry) -> JSON:
    """Return an entry as JSON: what is known of the operation, and how old this knowledge is.

    `state` is one of `ENTRY_STATES`, `percent` is from 0 to 100, and times are in RFC 3339. `age`
    is the time since the gateway last heard of an operation that has not ended. `archiveTime` is
    when the gateway put the answer into its archive. Unknown values are left out.
    """
    error = None
    if entry.message is not None:
        error = {"code": entry.code or int(Code.UNKNOWN), "message": entry.message}
    age = max(0.0, (dt.datetime.now(dt.UTC) - entry.seen).total_seconds())
    found: dict[str, Any] = {
        "name": entry.name,
        "backend": entry.backend,
        "method": entry.method or None,
        "state": entry.state.value,
        "percent": None if entry.percent is None else rounded(entry.percent),
        "startTime": _text(entry.started),
        "updateTime": _text(entry.changed),
        "endTime": _text(entry.finished),
        "age": f"{age:.0f}s" if entry.finished is None else None,
        "error": error,
        "archiveTime": _text(entry.archived),
        "request": None if entry.request is None else json.loads(entry.request),
    }
    return {key: value for key, value in found.items() if value is not None}


def _text(time: dt.datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
