"""`/livez` and `/readyz`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from lro_gateway.backends.health import Health, HealthCheck, HealthReport


class Liveness(BaseModel):
    """The answer of a process that lives."""

    status: Literal["ok"] = "ok"


class BackendHealth(BaseModel):
    """The health of one backend; `message` says why it does not serve."""

    name: str
    target: str
    status: Health
    message: str = ""


class Readiness(BaseModel):
    """Whether the gateway can serve: `ok` if every backend serves, `degraded` if only some do."""

    status: Literal["ok", "degraded", "unavailable"]
    backends: list[BackendHealth]


_READY_EXAMPLE: Final = {
    "status": "degraded",
    "backends": [
        {"name": "east", "target": "127.0.0.1:50051", "status": "SERVING"},
        {
            "name": "west",
            "target": "127.0.0.1:50052",
            "status": "NOT_SERVING",
            "message": "grpc.health.v1 did not answer SERVING",
        },
    ],
}
_UNAVAILABLE_EXAMPLE: Final = {"status": "unavailable", "backends": _READY_EXAMPLE["backends"][1:]}


def health_router(checks: Sequence[HealthCheck]) -> APIRouter:
    """Return the routes of health; HEAD is answered as GET is."""
    router = APIRouter(tags=["health"])

    @router.head("/livez", include_in_schema=False)
    @router.get(
        "/livez",
        operation_id="Livez",
        summary="Whether the gateway lives",
        responses={200: _example("The process lives.", {"status": "ok"})},
    )
    async def live() -> Liveness:
        return Liveness()

    @router.head("/readyz", include_in_schema=False)
    @router.get(
        "/readyz",
        operation_id="Readyz",
        summary="Whether the gateway can serve, backend by backend",
        response_model_exclude_defaults=True,
        responses={
            200: _example("A backend serves, or there are none.", _READY_EXAMPLE),
            503: {"model": Readiness, **_example("No backend serves.", _UNAVAILABLE_EXAMPLE)},
        },
    )
    async def ready(response: Response) -> Readiness:
        readiness = readiness_of(await asyncio.gather(*(check.report() for check in checks)))
        response.status_code = 503 if readiness.status == "unavailable" else 200
        return readiness

    return router


def _example(description: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return what OpenAPI has of a response beside its schema."""
    content = {"application/json": {"examples": {"example": {"value": value}}}}
    return {"description": description, "content": content}


def readiness_of(reports: Iterable[HealthReport]) -> Readiness:
    """Return whether the gateway can serve: if there are backends, one at least must serve."""
    backends = [
        BackendHealth(
            name=report.backend,
            target=report.target,
            status=report.health,
            message=report.message,
        )
        for report in reports
    ]
    serving = [backend.status is Health.SERVING for backend in backends]
    status: Literal["ok", "degraded", "unavailable"] = (
        "ok" if all(serving) else "degraded" if any(serving) else "unavailable"
    )
    return Readiness(status=status, backends=backends)
