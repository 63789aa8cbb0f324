"""A program: two FastAPI routes with one gRPC call each, as one would write them by hand."""

from __future__ import annotations

from typing import Any

import grpc.aio
from fastapi import FastAPI
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.json_format import MessageToDict, ParseDict

from lro_gateway.demo.v1 import database_admin_pb2, database_admin_pb2_grpc
from scripts.benchmark.bare import serve


def make_app(channel: grpc.aio.Channel) -> FastAPI:
    """Return the app."""
    operations: Any = operations_pb2_grpc.OperationsStub(channel)
    databases: Any = database_admin_pb2_grpc.DatabaseAdminStub(channel)
    app = FastAPI()

    @app.post("/v1/databases")
    async def create_database(body: dict[str, Any]) -> dict[str, Any]:
        request = ParseDict(body, database_admin_pb2.CreateDatabaseRequest())
        return MessageToDict(await databases.CreateDatabase(request, timeout=10))

    @app.get("/v1/{name:path}")
    async def get_operation(name: str) -> dict[str, Any]:
        request = operations_pb2.GetOperationRequest(name=name)
        return MessageToDict(await operations.GetOperation(request, timeout=10))

    return app


if __name__ == "__main__":
    serve(make_app)
