"""Whether an operation exists for a caller, where ownership decides this beside the policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from lro_gateway.access.audit import Audit
from lro_gateway.access.denials import DeniedError
from lro_gateway.access.ownership import Ownership
from lro_gateway.access.policy import OperationAction, Policy, Verb
from lro_gateway.backends.backend import Backend
from lro_gateway.backends.rounds import READER
from lro_gateway.operations.names import BackendName
from lro_gateway.principal import Principal
from lro_gateway.service.patience import first_read
from lro_gateway.service.reads import Reads
from lro_gateway.service.watch_bounds import WatchBounds


@dataclass(frozen=True, slots=True)
class Existence:
    """Checks that operations exist for callers, directly before their backend is called.

    So each earlier refusal is the one for an operation that does not exist. A hidden operation
    costs the same call as a missing one, so neither time nor an outage tells them apart.
    """

    ownership: Ownership
    policy: Policy
    bounds: WatchBounds
    audit: Audit
    recalls: Reads
    """Reads operations without an owner that a subscription has adopted, also in the archive."""
    # A kept state would be answered sooner, and so would an archived one.
    _reads: Reads = field(default_factory=partial(Reads, 0))
    _misses: Reads = field(default_factory=partial(Reads, 0, ask=Backend.miss))

    async def check(
        self, caller: Principal, action: OperationAction, backend: Backend, name: BackendName
    ) -> None:
        """Raise NOT_FOUND if an operation does not exist for a caller whom the policy allows it."""
        try:
            await self.look(caller, action, backend, name)
        except DeniedError as error:
            self.audit.refusal(caller, action, error)
            raise

    async def look(
        self, caller: Principal, action: OperationAction, backend: Backend, name: BackendName
    ) -> None:
        """Raise what `check` raises for a caller that has not asked, so without an audit."""
        asks = [partial(r.get, backend, name) for r in (self._reads, self._misses, self.recalls)]
        if action.verb is Verb.WAIT:
            asks = [partial(first_read, ask) for ask in asks]
        await self.ownership.check(caller, action, *asks)

    async def authorize_watch(
        self, caller: Principal, action: OperationAction, backend: Backend, name: BackendName
    ) -> None:
        """Raise the error of a caller that may not watch an operation."""
        READER.set(caller.reader)
        await self.policy.authorize(caller, action)
        self.bounds.check(caller.reader, 1, backend.name)
        await self.check(caller, action, backend, name)
