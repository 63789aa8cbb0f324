"""`/livez` and `/readyz`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lro_gateway.backends.health import Health, HealthReport
from lro_gateway.rest.responses import json_response

HealthReporter = Callable[[], Awaitable[HealthReport]]


class HealthRoutes:
    """Whether the process lives, and whether it can serve: it can when any backend does."""

    def __init__(self, reporters: Sequence[HealthReporter]) -> None:
        self._reporters = reporters

    def routes(self) -> list[Route]:
        """Return the two routes."""
        return [Route("/livez", self.live), Route("/readyz", self.ready)]

    async def live(self, _request: Request) -> Response:
        """Answer as long as the process does."""
        return json_response({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """Ask every backend; 503 when there are backends and none of them serves."""
        reports = await asyncio.gather(*(reporter() for reporter in self._reporters))
        serving = [report for report in reports if report.health is Health.SERVING]
        ready = bool(serving) or not reports
        status = "ok" if len(serving) == len(reports) else "degraded" if ready else "unavailable"
        content = {"status": status, "backends": [_report_json(report) for report in reports]}
        return json_response(content, status=200 if ready else 503)


def _report_json(report: HealthReport) -> dict[str, str]:
    content = {"name": report.backend, "target": report.target, "status": report.health.value}
    return {**content, "message": report.message} if report.message else content
