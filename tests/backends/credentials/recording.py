"""A backend that records what it is shown, and gateways that show it something."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2

from tests.access.authorization_server import AuthorizationServer
from tests.contrary import ContraryBackend, Handler, answering, knowing

RUNNING = operations_pb2.Operation(name="jobs/1")
DONE = operations_pb2.Operation(name="jobs/1", done=True)
_HEALTH = "grpc.health.v1.Health/Check"


@asynccontextmanager
async def recording(
    handlers: Mapping[str, Handler] | None = None,
) -> AsyncIterator[ContraryBackend]:
    """Serve the Operations RPCs of a finished operation, health and reflection."""
    serving = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    async with ContraryBackend.open(
        {**knowing(DONE), **(handlers or {})},
        methods={_HEALTH: answering(serving)},
        reflection_versions=("v1",),
        pool=descriptor_pool.Default(),
    ) as backend:
        yield backend


def shown(backend: ContraryBackend, method: str, key: str = "authorization") -> list[Any]:
    """Return the value of a key of metadata in each call of a method."""
    return [call.metadata.get(key) for call in backend.calls if call.method == method]


def refusing_first(times: int, answer: operations_pb2.Operation) -> Handler:
    """Return a handler that answers UNAUTHENTICATED so many times, and then with an operation."""
    left = [times]

    async def handler(_request: Any, context: Any) -> operations_pb2.Operation:
        left[0] -= 1
        if left[0] >= 0:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this token is not valid")
        return answer

    return handler


def oauth(server: AuthorizationServer, **settings: Any) -> dict[str, Any]:
    """Return the settings of a client at an authorization server."""
    return {
        "token_url": f"{server.issuer}/token",
        "ca": str(server.ca),
        "client_id": "backend-caller",
        "client_secret": "env:TEST_CLIENT_SECRET",
        **settings,
    }
