"""A backend that makes reports, whose answers may be large, and the SDK's client of a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import message_factory
from mcp import Client

from tests.contrary import ContraryBackend, Handler
from tests.gateways import serving
from tests.protos import pool_of

SERVICE = "reports.v1.Reports"


def message(kind: str, /, **fields: Any) -> Any:
    """Return a message of the package `reports.v1`."""
    descriptor = pool_of("reports").FindMessageTypeByName(f"reports.v1.{kind}")
    return message_factory.GetMessageClass(descriptor)(**fields)


def report(rows: int, length: int, *, name: str = "reports/1", note: str = "") -> Any:
    """Return a report of so many rows, each with a text of this length."""
    made = message("Report", name=name, note=note)
    for index in range(rows):
        made.rows.add(id=f"row{index}", text="x" * length)
    return made


def finished(response: Any, name: str = "reports/1/operations/1") -> operations_pb2.Operation:
    """Return an operation that ended with a response."""
    operation = operations_pb2.Operation(name=name, done=True)
    operation.response.Pack(response)
    return operation


@asynccontextmanager
async def serving_reports(
    operations: Mapping[str, Handler] | None = None,
    methods: Mapping[str, Handler] | None = None,
    *,
    server: Mapping[str, Any] | None = None,
    mcp: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[str, ContraryBackend]]:
    """Open the backend, and a gateway to it; yields the URL of its MCP endpoint, and the backend.

    `operations` are the RPCs of google.longrunning.Operations, and `methods` those of Reports.
    """
    async with (
        ContraryBackend.open(
            operations or {},
            methods={f"{SERVICE}/{name}": handler for name, handler in (methods or {}).items()},
            pool=pool_of("reports"),
            reflection_versions=("v1",),
        ) as backend,
        serving(
            {"name": "b", "target": backend.target, "methods": ["*/Read*"], **settings},
            mcp=mcp,
            **(server or {}),
        ) as url,
    ):
        yield f"{url}/mcp", backend


@asynccontextmanager
async def client_of_reports(
    mode: Any,
    operations: Mapping[str, Handler] | None = None,
    methods: Mapping[str, Handler] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Client, ContraryBackend]]:
    """Open the backend, a gateway to it, and the SDK's client in a mode.

    `options` are those of `serving_reports`.
    """
    async with (
        serving_reports(operations, methods, **options) as (url, backend),
        Client(url, mode=mode) as client,
    ):
        yield client, backend
