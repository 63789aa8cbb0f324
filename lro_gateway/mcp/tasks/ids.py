"""Task ids.

The gateway seals the key of a task into its id, and stores no ids. So every replica that has the
same sealing keys can read an id.
"""

from __future__ import annotations

from typing import Final

import orjson

from lro_gateway.access.sealing import Sealer
from lro_gateway.mcp.answers import TaskKey
from lro_gateway.principal import Principal

_PURPOSE: Final = "mcp_task_id"


class TaskIds:
    """Converts a task's key to an id for one caller, and converts the id back to the key.

    The same key always has the same id for the same caller.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, caller: Principal, key: TaskKey) -> str:
        """Return the id of a task that belongs to the caller."""
        content = orjson.dumps([key.source, key.tool, *key.reference])
        return self._sealer.seal(content, _PURPOSE, caller.identity)

    def unseal(self, caller: Principal, task_id: str) -> TaskKey:
        """Return a task's key.

        Raises `UnsealError` unless this gateway's keys sealed the id for this caller.
        """
        content = self._sealer.unseal(task_id, _PURPOSE, caller.identity)
        source, tool, *reference = orjson.loads(content)
        return TaskKey(source, tool, tuple(reference))
