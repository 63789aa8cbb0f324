"""The records of deliveries in the store. The modules with SQL are imported when needed."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from lro_gateway.records.importing import imported


class EventRecords:
    """The records of deliveries, as the process with the id `replica` uses them.

    `version` is that of the work that this process can go on with.

    The modules are imported when the attributes are first read.
    """

    def __init__(self, database: Any, replica: str, version: int) -> None:
        self._database = database
        self.replica = replica
        self._version = version

    @cached_property
    def log(self) -> Any:
        """The log of events."""
        module: Any = imported("lro_gateway.records.event_log")
        return module.SqlEvents(self._database, self.replica, self._version)

    @cached_property
    def subscriptions(self) -> Any:
        """The webhooks."""
        module: Any = imported("lro_gateway.records.subscriptions")
        return module.SqlSubscriptions(self._database)

    @cached_property
    def outbox(self) -> Any:
        """The deliveries."""
        module: Any = imported("lro_gateway.records.outbox")
        return module.SqlOutbox(self._database, self.replica, self._version)

    @cached_property
    def replicas(self) -> Any:
        """The processes that share the store."""
        module: Any = imported("lro_gateway.records.replicas")
        return module.SqlReplicas(self._database, self.replica, self._version)
