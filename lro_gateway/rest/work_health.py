"""The route `/healthz/operations`, which tells a monitor whether the work is healthy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lro_gateway.rest.caller import caller_of, is_refused
from lro_gateway.rest.responses import ResourceResponse
from lro_gateway.service.service import OperationService
from lro_gateway.service.work_health import Cause, Reason, WorkHealth

WORK_PATH: Final = "/healthz/operations"


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
