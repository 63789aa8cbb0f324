"""Task ids: not stored but sealed, so that every replica with the same keys serves them."""

from __future__ import annotations

from typing import Final

import orjson

from lro_gateway.mcp.answers import TaskKey
from lro_gateway.principal import Principal
from lro_gateway.sealing import Sealer

_PURPOSE: Final = "mcp_task_id"


class TaskIds:
    """Turns keys into ids of one principal, and back; the same key has the same id."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, caller: Principal, key: TaskKey) -> str:
        """Return the id of a task that belongs to the caller."""
        content = orjson.dumps([key.source, key.tool, *key.reference])
        return self._sealer.seal(content, _PURPOSE, caller.identity)

    def unseal(self, caller: Principal, task_id: str) -> TaskKey:
        """Return the key; `UnsealError` if the id is not of this gateway and this caller."""
        content = self._sealer.unseal(task_id, _PURPOSE, caller.identity)
        source, tool, *reference = orjson.loads(content)
        return TaskKey(source, tool, tuple(reference))
