"""A program: one FastAPI route with one gRPC call, as one would write it by hand."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict

from scripts.benchmark.bare import serve


def make_app(stub: Any) -> FastAPI:
    """Return the app."""
    app = FastAPI()

    @app.get("/v1/{name:path}")
    async def get_operation(name: str) -> dict[str, Any]:
        request = operations_pb2.GetOperationRequest(name=name)
        return MessageToDict(await stub.GetOperation(request, timeout=10))

    return app


if __name__ == "__main__":
    serve(make_app)
