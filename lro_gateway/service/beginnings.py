"""How operations began that were started through the gateway, for those who look at them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lro_gateway.errors import StatusError
from lro_gateway.operations.begun import Begun
from lro_gateway.operations.operation import Operation
from lro_gateway.records.entries import Journal
from lro_gateway.records.working import History

Key = tuple[str, str]
"""A backend's name, and an operation's canonical name."""


@dataclass(frozen=True, slots=True)
class Beginnings:
    """Reads from the store how operations began. Without a store nothing is known."""

    journal: Journal | None = None
    history: History | None = None

    async def of(self, operations: Sequence[Operation]) -> Mapping[Key, Begun]:
        """Return how those of the operations began that were started here.

        It is empty if the store does not answer, because an operation can be shown without it.
        """
        if self.history is None:
            return {}
        by_backend: defaultdict[str, list[Operation]] = defaultdict(list)
        for operation in operations:
            by_backend[operation.backend].append(operation)
        try:
            found = await asyncio.gather(
                *(self._of(self.history, each) for each in by_backend.values())
            )
        except StatusError:
            return {}
        return {key: begun for each in found for key, begun in each.items()}

    async def _of(self, history: History, operations: Sequence[Operation]) -> Mapping[Key, Begun]:
        """Return how those of the operations of one backend began that were started here."""
        backend = operations[0].backend
        found = await history.begun(backend, [each.name for each in operations])
        return {
            (backend, each.name): self._latest(each, found[each.name])
            for each in operations
            if each.name in found
        }

    def _latest(self, operation: Operation, begun: Begun) -> Begun:
        """Return what the store knows, with a change that is not written yet."""
        if operation.state.value != begun.state:
            received = dt.datetime.fromtimestamp(operation.received, dt.UTC)
            return begun._replace(changed=max(begun.changed, received))
        known = self.journal.unchanged(operation) if self.journal is not None else None
        if known is None:
            return begun
        since = dt.datetime.fromtimestamp(known.since, dt.UTC)
        return begun._replace(changed=max(begun.changed, since))
