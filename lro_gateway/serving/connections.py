"""The HTTP connections of a server: which are open, and which of them take too long."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final, Protocol

from lro_gateway.access.peer import Network, is_in
from lro_gateway.config.limits import LimitsConfig
from lro_gateway.serving.addresses import counted_as
from lro_gateway.serving.client_trust import Withdrawn
from lro_gateway.serving.descriptors import room
from lro_gateway.serving.refusals import Refusal, too_many_connections

logger: Final = logging.getLogger(__name__)

_SWEEP: Final = 0.5
"""Seconds between two looks at the time-outs of all connections."""
REFUSED_TIME: Final = 2.0
"""Seconds that a refused connection has to send its request."""


class Swept(Protocol):
    """A connection that the sweep looks at."""

    def check_time(self, now: float) -> None:
        """Refuse or end the connection if it has taken too long."""

    def end_refused(self) -> None:
        """Answer and close a connection that was refused when it was accepted."""

    def distrust(self, withdrawn: Withdrawn) -> None:
        """End the connection if its certificate is trusted no longer."""


class Connections:
    """The open connections of one process, in all and by address."""

    def __init__(self, limits: LimitsConfig, trusted: tuple[Network, ...] = ()) -> None:
        self.limits = limits
        self._trusted = trusted
        self._open: set[Swept] = set()
        self._by_address: Counter[str] = Counter()
        self._refused: dict[Swept, None] = {}
        """The connections that get nothing but a refusal or a probe, from the oldest on."""

    @property
    def counted(self) -> int:
        """The number of addresses that have connections."""
        return len(self._by_address)

    def refusal(self, host: str, descriptor: int) -> Refusal | None:
        """Return why a new connection is over a limit, if it is."""
        limits = self.limits
        free = room()
        if descriptor >= free.last:
            return too_many_connections(free.last, "ulimit -n", of_address=False)
        if len(self._open) - len(self._refused) >= limits.max_connections:
            setting = "limits.max_connections"
            return too_many_connections(limits.max_connections, setting, of_address=False)
        most = limits.max_connections_per_address
        if self._by_address[counted_as(host)] >= most and not is_in(host, self._trusted):
            setting = "limits.max_connections_per_address"
            return too_many_connections(most, setting, of_address=True)
        return None

    def add(self, connection: Swept, host: str, *, refused: bool) -> None:
        """Count a connection. If too many refused ones are open, the oldest of them ends."""
        self._open.add(connection)
        if not refused:
            self._by_address[counted_as(host)] += 1
            return
        self._refused[connection] = None
        if len(self._refused) > room().refused:
            self.make_room()

    def make_room(self) -> bool:
        """End the oldest of the refused connections, and return whether there was one."""
        oldest = next(iter(self._refused), None)
        if oldest is None:
            return False
        del self._refused[oldest]
        oldest.end_refused()
        return True

    def remove(self, connection: Swept, host: str, *, refused: bool) -> None:
        """Count a connection no longer."""
        self._open.discard(connection)
        self._refused.pop(connection, None)
        if refused:
            return
        key = counted_as(host)
        self._by_address[key] -= 1
        if not self._by_address[key]:
            del self._by_address[key]

    def distrust(self, withdrawn: Withdrawn) -> None:
        """End the connections whose certificates are trusted no longer."""
        for connection in tuple(self._open):
            connection.distrust(withdrawn)

    async def sweep(self) -> None:
        """Look at the time-outs of all connections, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP)
            now = loop.time()
            for connection in tuple(self._open):
                connection.check_time(now)
