"""The service of a gateway some of whose calls need an approval.

The handle `approvals/ID` of such a call can be used wherever the name of an operation can. Once the
call has started an operation, the handle stands for this operation to its caller, so that the
caller can go on waiting for the handle.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from lro_gateway.access.expiry import until_expiry
from lro_gateway.background import race
from lro_gateway.errors import Code, status_error
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.records.approval import Approval, ApprovalState
from lro_gateway.service.approval_handles import id_of, name_of
from lro_gateway.service.approvals import Approvals
from lro_gateway.service.service import OperationService
from lro_gateway.service.shutdown import shutting_down
from lro_gateway.service.verb_requests import NameRequest, WaitRequest
from lro_gateway.service.waiting import MAX_WAIT, PROGRESS_INTERVAL, OnProgress
from lro_gateway.service.watch import Sighting

_LONGEST: Final = 3600.0
"""Seconds after which a stream looks at a call again, whatever it has heard."""


@dataclass(frozen=True, kw_only=True)
class ApprovingService(OperationService):
    """The verbs, which take handles of calls that need an approval too."""

    approvals: Approvals

    async def get(
        self, caller: Principal, request: NameRequest, *, patiently: bool = False
    ) -> Operation:
        """Return the latest state of an operation or of a handle."""
        if (id_ := id_of(request.name)) == "":
            return await super().get(caller, request, patiently=patiently)
        approval = await self.approvals.resume(caller, id_)
        if (followed := self._followed(caller, approval)) is not None:
            return await super().get(caller, followed, patiently=patiently)
        return self.approvals.handle(approval)

    async def check(self, caller: Principal, request: NameRequest) -> None:
        """Raise the error of a caller that may not read an operation or a handle."""
        if id_ := id_of(request.name):
            await self.approvals.find(caller, id_)
        else:
            await super().check(caller, request)

    async def followed(self, caller: Principal, request: NameRequest) -> NameRequest:
        """Return the request for the operation that the call of a handle has started.

        A backend does not know the handle, so nobody follows it. Raises FAILED_PRECONDITION if
        there is no operation yet, or never will be.
        """
        if (id_ := id_of(request.name)) == "":
            return request
        approval = await self.approvals.find(caller, id_)
        if (followed := self._followed(caller, approval)) is not None:
            return followed
        raise status_error(
            Code.FAILED_PRECONDITION,
            f"{name_of(id_)} is {approval.state.value}, and has no operation whose events you could"
            " get; wait for it, or select the events of what you start with mine",
            "NO_OPERATION_OF_HANDLE",
            metadata={"state": approval.state.value},
        )

    async def can_read(self, caller: Principal, operation: Operation) -> bool:
        """Return False if reads of a started operation are refused; a handle can be read."""
        return bool(id_of(operation.name)) or await super().can_read(caller, operation)

    def expect(self, caller: Principal, request: NameRequest, begun: float) -> None:
        """Note that another worker met an operation. All workers know the handles."""
        if not id_of(request.name):
            super().expect(caller, request, begun)

    async def wait(
        self, caller: Principal, request: WaitRequest, on_progress: OnProgress | None = None
    ) -> Operation:
        """Return an operation once it is done, or its latest state at the end of the timeout.

        A handle is done if its call was not made or has no operation. Otherwise this waits for the
        operation that the call has started.
        """
        if (id_ := id_of(request.name)) == "":
            return await super().wait(caller, request, on_progress)
        now = asyncio.get_running_loop().time
        limit = min(self.waits.default if request.timeout is None else request.timeout, MAX_WAIT)
        end = now() + limit.total_seconds()
        async with until_expiry(caller):
            while True:
                approval = await self.approvals.resume(caller, id_)
                left = max(0.0, end - now())
                if (followed := self._followed(caller, approval)) is not None:
                    rest = WaitRequest(followed.name, timedelta(seconds=left), followed.backend)
                    return await super().wait(caller, rest, on_progress)
                operation = self.approvals.handle(approval)
                if on_progress is not None:
                    await on_progress(Sighting(operation))
                if operation.done or not left:
                    return operation
                pause = left if on_progress is None else min(left, PROGRESS_INTERVAL)
                await self._change_of(approval, pause)

    def watch(
        self, caller: Principal, request: NameRequest, *, every: float | None = None
    ) -> AsyncGenerator[Sighting]:
        """Yield the state of an operation or of a handle at once, then every newer one.

        The states of an operation follow those of the handle whose call has started it.
        """
        if (id_ := id_of(request.name)) == "":
            return super().watch(caller, request, every=every)
        return self._watched(caller, id_, every)

    async def _watched(
        self, caller: Principal, id_: str, every: float | None
    ) -> AsyncGenerator[Sighting]:
        self.watch_bounds.enter(caller.reader)
        try:
            while True:
                approval = await self.approvals.resume(caller, id_)
                if (followed := self._followed(caller, approval)) is not None:
                    break
                operation = self.approvals.handle(approval)
                yield Sighting(operation)
                if operation.done:
                    return
                await self._change_of(approval, every or _LONGEST)
        finally:
            self.watch_bounds.leave(caller.reader)
        async with aclosing(super().watch(caller, followed, every=every)) as sightings:
            async for sighting in sightings:
                yield sighting

    async def cancel(self, caller: Principal, request: NameRequest) -> None:
        """Request the cancellation of an operation, or withdraw a call that is not started yet."""
        if (id_ := id_of(request.name)) == "":
            return await super().cancel(caller, request)
        approval = await self.approvals.find(caller, id_)
        if (followed := self._followed(caller, approval)) is None:
            return await self.approvals.cancel(caller, approval)
        return await super().cancel(caller, replace(followed, confirmed=request.confirmed))

    async def delete(self, caller: Principal, request: NameRequest) -> None:
        """Delete the record of an operation. The record of an approval cannot be deleted."""
        if (id_ := id_of(request.name)) == "":
            return await super().delete(caller, request)
        approval = await self.approvals.find(caller, id_)
        if (followed := self._followed(caller, approval)) is None:
            raise status_error(
                Code.FAILED_PRECONDITION,
                f"the record of {name_of(id_)} is kept for 30 days; cancel it if it is pending",
                "APPROVAL_KEPT",
            )
        return await super().delete(caller, replace(followed, confirmed=request.confirmed))

    def _followed(self, caller: Principal, approval: Approval) -> NameRequest | None:
        """Return the operation that the call of the caller has started, or None."""
        is_started = approval.state is ApprovalState.STARTED and approval.operation
        if not is_started or not self.approvals.is_own(caller, approval):
            return None
        return NameRequest(approval.operation, approval.asked.backend)

    async def _change_of(self, approval: Approval, seconds: float) -> None:
        """Wait until an approval has changed or expires, but at most for some seconds.

        Raises UNAVAILABLE if the gateway stops.
        """
        pause = min(seconds, self.approvals.seconds_left(approval))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                changed = self.approvals.changes.wait(approval.id, approval.state)
                await race(changed, self.shutdown.wait())
        if self.shutdown.has_begun:
            raise shutting_down(f"{name_of(approval.id)} waits on", {"name": name_of(approval.id)})
