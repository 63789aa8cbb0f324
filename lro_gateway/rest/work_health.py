"""The route `/healthz/operations`, which tells a monitor whether the work is healthy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lro_gateway.rest.caller import caller_of, is_refused
from lro_gateway.rest.health import example
from lro_gateway.rest.responses import ResourceResponse
from lro_gateway.service.service import OperationService
from lro_gateway.service.work_health import Cause, Reason, WorkHealth

WORK_PATH: Final = "/healthz/operations"


class WorkReason(BaseModel):
    """A reason why the work is not healthy.

    Only stalled operations have more than `reason`. `unchangedFor` and `expectedTime` are seconds,
    such as `1200s`. Callers that may not use the backend see no more than `count` beside `reason`.
    """

    reason: Literal["OPERATIONS_STALLED", "STORE_SLOW", "STORE_FAILING", "SWEEPER_NOT_RUNNING"]
    message: str = ""
    backend: str = ""
    method: str = ""
    count: int = 0
    unchangedFor: str = ""  # noqa: N815 - the name in the JSON
    expectedTime: str = ""  # noqa: N815 - the name in the JSON


class WorkStatus(BaseModel):
    """The health of the work. The status is `unknown` if the gateway has no store."""

    status: Literal["ok", "failing", "unknown"]
    reasons: list[WorkReason]


_OK: Final = {"status": "ok", "reasons": []}
_STALLED: Final = {
    "reason": "OPERATIONS_STALLED",
    "message": "operations have not changed for longer than their method takes",
    "backend": "east",
    "method": "lro_gateway.demo.v1.DatabaseAdmin/BackupDatabase",
    "count": 2,
    "unchangedFor": "1200s",
    "expectedTime": "180s",
}


def described_work_health() -> APIRouter:
    """Return the route as FastAPI describes it in the OpenAPI document."""
    router = APIRouter(tags=["health"])

    @router.get(
        WORK_PATH,
        operation_id="HealthzOperations",
        summary="Check that operations change as fast as usual, and that the store works",
        responses={
            200: example("Nothing is known to be wrong.", _OK),
            503: {
                "model": WorkStatus,
                **example("The reasons.", {"status": "failing", "reasons": [_STALLED]}),
            },
        },
    )
    def healthy() -> WorkStatus:
        return WorkStatus(status="unknown", reasons=[])

    return router


def work_health_route(health: WorkHealth | None, service: OperationService) -> Route:
    """Return the route. It answers 200, or 503 with the reasons.

    The names of backends and methods are only for callers that are identified, if the gateway
    identifies its callers, and only those of backends that the caller may use. Without a store the
    gateway knows of no work, and answers `unknown`.
    """

    async def healthy(request: Request) -> Response:
        if health is None:
            return ResourceResponse({"status": "unknown", "reasons": []})
        reasons = await health.reasons()
        shown: Sequence[str] = ()
        if not is_refused(request):
            shown = service.backend_names(caller_of(request))
        content = {
            "status": "failing" if reasons else "ok",
            "reasons": _reasons(reasons, shown),
        }
        return ResourceResponse(content, 503 if reasons else 200)

    return Route(WORK_PATH, healthy)


def _reasons(reasons: Sequence[Reason], shown: Sequence[str]) -> list[dict[str, Any]]:
    found = [_json(each) for each in reasons if not each.backend or each.backend in shown]
    hidden = sum(each.count for each in reasons if each.backend and each.backend not in shown)
    if hidden:
        found.append({"reason": Cause.STALLED.value, "count": hidden})
    return found


def _json(reason: Reason) -> dict[str, Any]:
    if not reason.backend:
        # The message of a database may have names of hosts.
        return {"reason": reason.cause.value}
    return {
        "reason": reason.cause.value,
        "message": reason.message,
        "backend": reason.backend,
        "method": reason.method,
        "count": reason.count,
        "unchangedFor": f"{reason.unchanged:.0f}s",
        "expectedTime": f"{reason.expected:.0f}s",
    }
