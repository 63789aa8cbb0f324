"""Watches of one operation at several replicas: one of them polls, and tells the others.

This only saves polls. A replica that hears nothing asks again, and polls if nobody else does.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from cachetools import LRUCache

from lro_gateway.backends.backend import Backend
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import StatusError
from lro_gateway.operations.names import BackendName
from lro_gateway.operations.operation import Operation

logger: Final = logging.getLogger(__name__)

_ROUND: Final = 3.0
"""Seconds between two looks at which replicas run, if this one hears from some."""
_AT_ONCE: Final = 500
"""The number of operations that are claimed in one transaction."""
_PATIENCE: Final = 1.0
"""Seconds that a poll waits for the store. Then this replica polls on its own."""
_PAUSE: Final = 0.5
"""Seconds in which the ends are gathered that are told together."""
_MAX_ENDED: Final = 10_000
_SILENCE: Final = 60.0
"""Seconds after which a replica that has sent nothing is asked again."""


class Leads(Protocol):
    """The replicas that poll operations for all others. The methods raise a `StatusError`."""

    replica: str

    async def listen(self, heard: Callable[[Any], None]) -> None:
        """Call `heard` with each notice of any replica, for ever."""

    async def claim(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        """Lead unless other replicas do, and ask these; return who leads."""

    async def tell(self, key: str, message: bytes) -> bool:
        """Tell the others a state; return False if another replica leads."""

    async def end(self, keys: Collection[str]) -> None:
        """Tell the replicas that lead operations that these have ended."""

    async def leave(self, keys: Collection[str]) -> None:
        """Let other replicas lead."""

    async def running(self) -> frozenset[str]:
        """Return the ids of the replicas that run."""


class Wake(Protocol):
    """Lets a watch go on at once: to hear what was told, or to poll often if it `hurries`."""

    def __call__(self, *, hurries: bool) -> None:
        """Wake the watch."""


class Part:
    """The part of this replica in the watch of one operation: it leads, or it hears from who leads.

    `wake` is called if there is something to hear, and if the operation will probably change soon.
    """

    __slots__ = ("_heard", "_is_wanted", "_kind", "_latest", "_sharing", "_wake", "key", "leader")

    def __init__(self, sharing: SharedWatches, key: str, wake: Wake) -> None:
        self._sharing = sharing
        self._wake = wake
        self._is_wanted = False
        self._latest: Operation | None = None
        self._heard: bytes | None = None
        self._kind = "ask"
        self.key = key
        self.leader = ""

    @property
    def leads(self) -> bool:
        """Whether this replica polls."""
        return self.leader == self._sharing.replica

    @property
    def pause(self) -> float:
        """The seconds after which a replica that does not poll calls `told` again."""
        return _SILENCE if self.leader and self._heard is None else 0.0

    async def _join(self, kind: str) -> None:
        """Lead, or ask the replica that leads. Without the store this replica leads."""
        try:
            async with asyncio.timeout(_PATIENCE):
                self.leader = await self._sharing.claimed(self.key, kind)
        except TimeoutError:
            self.leader = self._sharing.replica

    def hurry(self) -> None:
        """Let the replica that leads poll often, because the operation will soon change."""
        if self.leads:
            return
        if self.leader:
            self._sharing.start_task(self._join("hurry"))
        else:
            self._kind = "hurry"

    async def told(self) -> bytes | None:
        """Return the state that the leader has sent. If it was silent, ask again who leads.

        The state is empty if it is too large to send.
        """
        if self._heard is None:
            kind, self._kind = self._kind, "ask"
            await self._join(kind)
        heard, self._heard = self._heard, None
        return heard

    def seen(self, operation: Operation) -> None:
        """Tell the others a state that this replica has polled, if they want it and it is new."""
        before, self._latest = self._latest, operation
        is_new = before is None or not operation.is_message_of(before)
        if self._is_wanted and self.leads and is_new:
            self._sharing.tell(self, operation.proto.SerializeToString())

    def failed(self) -> None:
        """Let the others poll once, because a poll of this replica has failed."""
        self._latest = None
        if self._is_wanted and self.leads:
            self._sharing.tell(self, b"")

    def hear(self, kind: str, message: bytes) -> None:
        """Take a notice of another replica."""
        if kind in {"ask", "hurry"} and self.leads:
            self._is_wanted = True
            if self._latest is not None:
                self._sharing.tell(self, self._latest.proto.SerializeToString())
            if kind == "hurry":
                self._wake(hurries=True)
        elif kind == "told" and not self.leads:
            self._heard = message
            self._wake(hurries=False)
        elif kind == "left" and not self.leads:
            self.lose()
        elif kind == "ended" and self.leads:
            self._wake(hurries=False)

    def lose(self) -> None:
        """Ask again who leads. A replica that leads tells all that it sees from now on."""
        self._is_wanted = True
        if self.leads:
            self._sharing.start_task(self._join("ask"))
        else:
            self.resign()

    def resign(self) -> None:
        """Ask who leads before the next poll."""
        self.leader = ""
        self._wake(hurries=False)


class SharedWatches:
    """The parts of this replica in the watches that it shares with others."""

    def __init__(
        self,
        leads: Leads,
        tasks: BackgroundTasks,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`flush` writes the ends that were read here to the archive."""
        self._flush = flush
        self.leads = leads
        self.replica = leads.replica
        self._tasks = tasks
        self._parts: dict[str, Part] = {}
        self._claims: dict[str, tuple[str, asyncio.Future[str]]] = {}
        self._leaves: set[str] = set()
        self._wakes = asyncio.Event()
        self._ends: set[str] = set()
        self._ended: LRUCache[str, None] = LRUCache(_MAX_ENDED)
        """The operations whose ends this replica has told, or is about to tell."""

    def start(self) -> None:
        """Listen to the other replicas, and look which of them run."""
        self._tasks.start(self.leads.listen(self._hear))
        self._tasks.start(self._look())
        self._tasks.start(self._write())
        self._tasks.start(self._tell_ends())

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that belongs to no reader."""
        self._tasks.start(work)

    def part(self, backend: Backend, name: BackendName, wake: Wake) -> Part | None:
        """Return a part in the watch of an operation, or None if callers see different answers."""
        if backend.tells_callers_apart:
            return None
        part = Part(self, _key_of(backend, name), wake)
        self._parts[part.key] = part
        return part

    def ended(self, backend: Backend, name: BackendName) -> None:
        """Tell the replica that polls an operation, soon, that a read has met its end here."""
        if backend.tells_callers_apart:
            return
        key = _key_of(backend, name)
        if key not in self._ended and len(self._ends) < _AT_ONCE:
            self._ended[key] = None
            self._ends.add(key)

    async def _tell_ends(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE)
            ends, self._ends = self._ends, set()
            # The replica that polls learns of the end anyway, but later.
            with suppress(StatusError):
                if ends:
                    # The backend may forget an operation before the others read it.
                    if self._flush is not None:
                        await self._flush()
                    await self.leads.end(ends)

    def end(self, part: Part) -> None:
        """End a part. Another replica then leads."""
        if self._parts.get(part.key) is part:
            del self._parts[part.key]
            if part.leads:
                self._leaves.add(part.key)
                self._wakes.set()

    async def claimed(self, key: str, kind: str) -> str:
        """Lead an operation, or ask who leads it; return who leads. Without the store, lead."""
        if key in self._claims:
            before, future = self._claims[key]
            kind = before if before == "hurry" else kind
        else:
            future = asyncio.get_running_loop().create_future()
        self._claims[key] = (kind, future)
        self._wakes.set()
        return await asyncio.shield(future)

    def tell(self, part: Part, message: bytes) -> None:
        """Tell the others a state."""
        self._tasks.start(self._tell(part, message))

    async def _write(self) -> None:
        """Claim and leave, all that came meanwhile in one transaction."""
        while True:
            await self._wakes.wait()
            self._wakes.clear()
            while self._leaves or self._claims:
                await self._write_once()

    async def _write_once(self) -> None:
        leaves, self._leaves = self._leaves, set()
        keys = [*self._claims][:_AT_ONCE]
        claims = {key: self._claims.pop(key) for key in keys}
        found: Mapping[str, str] = dict.fromkeys(claims, self.replica)
        try:
            # An operation may have been left and then claimed again, so leaves are written first.
            if leaves:
                await self.leads.leave(leaves)
            if claims:
                found = await self.leads.claim({key: kind for key, (kind, _) in claims.items()})
        except StatusError as error:
            logger.warning("each replica polls on its own for now: %s", error)
        except Exception:
            logger.exception("each replica polls on its own for now")
        for key, (_, future) in claims.items():
            if not future.done():
                future.set_result(found[key])
            if found[key] == self.replica and key not in self._parts:
                self._leaves.add(key)

    async def _tell(self, part: Part, message: bytes) -> None:
        try:
            if not await self.leads.tell(part.key, message):
                part.resign()
        except StatusError as error:
            logger.warning("other replicas hear of a state later: %s", error)

    def _hear(self, notice: Any) -> None:
        if not notice.kind:
            for each in [*self._parts.values()]:
                each.lose()
        elif notice.replica != self.replica and (part := self._parts.get(notice.key)) is not None:
            part.hear(notice.kind, notice.message)

    async def _look(self) -> None:
        """Take over from replicas that no longer run."""
        while True:
            await asyncio.sleep(_ROUND)
            following = [part for part in self._parts.values() if part.leader and not part.leads]
            if not following:
                continue
            try:
                running = await self.leads.running()
            except StatusError:
                continue
            for each in following:
                if each.leader not in running:
                    each.lose()


def _key_of(backend: Backend, name: BackendName) -> str:
    text = f"{backend.name}\0{name}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()
