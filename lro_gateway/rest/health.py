"""The routes of health: `/livez` for the process, and `/readyz` for the backends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lro_gateway.backends.health import Health, HealthCheck, HealthReport
from lro_gateway.rest.caller import is_refused
from lro_gateway.rest.responses import ResourceResponse


class Liveness(BaseModel):
    """The answer of a gateway that is running."""

    status: Literal["ok"] = "ok"


class BackendHealth(BaseModel):
    """The health of one backend. If the backend does not serve, `message` tells the reason.

    Only identified callers see `target` and `message`, if the gateway identifies its callers.
    """

    name: str
    target: str = ""
    status: Health
    message: str = ""


class Readiness(BaseModel):
    """The readiness of the gateway and the health of each backend.

    The status is `ok` if every backend serves, `degraded` if only some serve, and `unavailable` if
    none serves.
    """

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


def health_routes(checks: Sequence[HealthCheck]) -> list[Route]:
    """Return the routes of health; HEAD returns the status and headers of GET.

    FastAPI would make models of the answers for each application. Measured: this takes a third of
    the time in which a gateway opens. So FastAPI only describes the routes (`described_health`).
    """

    async def live(_request: Request) -> Response:
        return ResourceResponse(Liveness().model_dump())

    async def ready(request: Request) -> Response:
        reports = await asyncio.gather(*(check.report() for check in checks))
        readiness = readiness_of(reports, shows_addresses=not is_refused(request))
        content = readiness.model_dump(mode="json", exclude_defaults=True)
        return ResourceResponse(content, 503 if readiness.status == "unavailable" else 200)

    return [Route("/livez", live), Route("/readyz", ready)]


def described_health() -> APIRouter:
    """Return the routes of health as FastAPI describes them in the OpenAPI document."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/livez",
        operation_id="Livez",
        summary="Check that the gateway is running",
        responses={200: example("The gateway is running.", {"status": "ok"})},
    )
    def live() -> Liveness:
        return Liveness()

    @router.get(
        "/readyz",
        operation_id="Readyz",
        summary="Check which backends the gateway can reach",
        responses={
            200: example("At least one backend serves, or none is configured.", _READY_EXAMPLE),
            503: {"model": Readiness, **example("No backend serves.", _UNAVAILABLE_EXAMPLE)},
        },
    )
    def ready() -> Readiness:
        return readiness_of(())

    return router


def example(description: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI response, without its schema, that has one example."""
    content = {"application/json": {"examples": {"example": {"value": value}}}}
    return {"description": description, "content": content}


def readiness_of(reports: Iterable[HealthReport], *, shows_addresses: bool = True) -> Readiness:
    """Return the readiness for these reports; it is `ok` if there are no backends.

    A message of gRPC has the address too.
    """
    backends = [
        BackendHealth(
            name=report.backend,
            target=report.target if shows_addresses else "",
            status=report.health,
            message=report.message if shows_addresses else "",
        )
        for report in reports
    ]
    serving = [backend.status is Health.SERVING for backend in backends]
    status: Literal["ok", "degraded", "unavailable"] = (
        "ok" if all(serving) else "degraded" if any(serving) else "unavailable"
    )
    return Readiness(status=status, backends=backends)
