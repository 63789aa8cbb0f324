"""Short names that the gateway has returned, and that several backends may have since then.

While a gateway has one backend, the names of its operations do not begin with `//backend/`. With a
second backend such a name may belong to either. The store knows what was started here, and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar

from lro_gateway.access.audit import unaudited
from lro_gateway.access.ownership import Ownership
from lro_gateway.access.policy import OperationAction, Verb
from lro_gateway.backends.backend import Backend
from lro_gateway.errors import StatusError
from lro_gateway.operations.names import BackendName
from lro_gateway.principal import Principal
from lro_gateway.records.owners import Owner, Owners
from lro_gateway.service.verb_requests import NameRequest, WaitRequest
from lro_gateway.service.views import Views

_Request = TypeVar("_Request", bound=NameRequest | WaitRequest)
_NOBODY: Final[frozenset[Owner]] = frozenset()


class ShortNames:
    """Finds the backend of an operation that was started here under a short name."""

    def __init__(
        self,
        views: Views,
        backends: Mapping[str, Backend],
        owners: Owners | None,
        ownership: Ownership | None,
    ) -> None:
        self._views = views
        self._backends = backends
        self._owners = owners
        self._ownership = ownership

    async def resolved(self, caller: Principal, request: _Request, verb: Verb) -> _Request:
        """Return the request with the backend of its name, if only the store tells which it is.

        Only what the caller may see is found, so a hidden operation is like one that does not
        exist: the name stays ambiguous, after the same question to the store.
        """
        name = request.name
        if request.backend or self._owners is None or "\x00" in name:
            return request
        candidates = self._views.router(caller).ambiguous(name)
        if not candidates:
            return request
        reads = Verb.WAIT if verb is Verb.WAIT else Verb.GET
        allowed = [each for each in candidates if await self._allows(caller, reads, each, name)]
        try:
            told = await self._owners.of_short_name(allowed, name)
        except StatusError:
            # The error for the name says what to do, also without the store.
            return request
        seen = [each for each in allowed if self._sees(caller, each, told.get(each, _NOBODY))]
        return replace(request, backend=seen[0]) if len(seen) == 1 else request

    async def _allows(self, caller: Principal, verb: Verb, backend: str, name: str) -> bool:
        """Return whether the policy lets the caller read an operation of this name."""
        canonical = self._views.whole.public_name(backend, BackendName(name))
        try:
            action = OperationAction(verb, backend, canonical)
            await unaudited(self._views.policy).authorize(caller, action)
        except StatusError:
            return False
        return True

    def _sees(self, caller: Principal, name: str, owners: frozenset[Owner]) -> bool:
        if not owners or Owner.of(caller) in owners:
            return bool(owners)
        backend = self._backends[name]
        # Only a backend that is shown something of its callers, such as a token, can tell whether
        # this caller may see what another one has started.
        is_same = backend.for_caller(caller) is backend
        return is_same and (self._ownership is None or self._ownership.sees(caller, name, owners))
