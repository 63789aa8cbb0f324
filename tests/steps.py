"""An operation whose progress a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.longrunning import operations_pb2

from tests.contrary import Answer, ContraryBackend, Handler
from tests.gateways import serving
from tests.shapes import message as made
from tests.shapes import pool


class Steps:
    """An operation whose progress a test sets."""

    def __init__(self) -> None:
        self.percent = 0
        self.instead: Handler | None = None
        self._listed = asyncio.Condition()

    async def __call__(self, request: Any, context: Any) -> Answer:
        if self.instead is not None:
            return await self.instead(request, context)
        operation: Any = operations_pb2.Operation(name="jobs/1", done=self.percent == 100)
        operation.metadata.Pack(made("progress.v1.Percent", progress_percent=self.percent))
        answer: Answer = operation
        return answer

    async def list(self, request: Any, context: Any) -> Answer:
        """Answer a list request with the one operation."""
        async with self._listed:
            self._listed.notify_all()
        page: Answer = operations_pb2.ListOperationsResponse(
            operations=[await self(request, context)]
        )
        return page

    async def next_lists(self, count: int) -> None:
        """Wait until the backend gets this many more list requests."""
        async with self._listed:
            for _ in range(count):
                await self._listed.wait()


@asynccontextmanager
async def gateway_to(steps: Steps) -> AsyncIterator[str]:
    """Serve a gateway that polls the operation every 20 ms; yields its base URL."""
    async with (
        ContraryBackend.open(
            {"GetOperation": steps, "ListOperations": steps.list},
            reflection_versions=("v1",),
            pool=pool(),
        ) as backend,
        serving(
            {"name": "b", "target": backend.target, "poll_intervals": ["0.02s"] * 3},
        ) as url,
    ):
        yield url
