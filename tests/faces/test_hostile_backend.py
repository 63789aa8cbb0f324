"""A backend whose every answer is wrong does not end or mislead the server of the others."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from google.longrunning import operations_pb2

from tests.contrary import ContraryBackend, answering
from tests.processes import served
from tests.resets import (
    Ending,
    ResettingServer,
    answering_grpc,
    answering_http,
    closing,
    going_away,
    message,
    resetting,
)

DONE = operations_pb2.Operation(name="tasks/1", done=True)
ENDINGS = {
    "no message": (answering_grpc({"grpc-status": "0"}), "MALFORMED_RESPONSE", 500),
    "junk": (
        answering_grpc({"grpc-status": "0"}, data=message(b"\xff\xff\xff")),
        "MALFORMED_RESPONSE",
        500,
    ),
    "no status": (answering_grpc({}), "CALL_BROKEN", 500),
    "bad status": (answering_grpc({"grpc-status": "x"}), "CALL_BROKEN", 500),
    "http": (answering_http(502, "<html>"), "HTTP_RESPONSE", 503),
    "reset": (resetting(2), "CALL_BROKEN", 500),
    "goaway": (going_away(), "CALL_BROKEN", 500),
    "close": (closing, "BACKEND_UNAVAILABLE", 503),
}


@pytest.mark.parametrize(("ending", "reason", "status"), ENDINGS.values(), ids=ENDINGS)
async def test_a_server_serves_its_other_backends(
    ending: Ending, reason: str, status: int, tmp_path: Path
) -> None:
    """The hostile backend answers reflection, health checks and calls in the same way."""
    listed = operations_pb2.ListOperationsResponse(operations=[DONE])
    handlers = {"GetOperation": answering(DONE), "ListOperations": answering(listed)}
    async with (
        ResettingServer.open(ending) as hostile,
        ContraryBackend.open(handlers) as sound,
        served(
            tmp_path,
            {"name": "hostile", "target": hostile.target, "operations": ["jobs/*"]},
            {"name": "sound", "target": sound.target, "operations": ["tasks/*"]},
        ) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        failed = await client.get("/v1/jobs/1")
        (info,) = failed.json()["error"]["details"]
        assert (failed.status_code, info["reason"]) == (status, reason)
        assert info["metadata"]["backend"] == "hostile"
        assert (await client.get("/v1/tasks/1")).json()["done"] is True
        page = (await client.get("/v1/operations?returnPartialSuccess=true")).json()
        assert [each["name"] for each in page["operations"]] == ["tasks/1"]
        assert page["unreachable"] == ["//hostile"]
        ready = await client.get("/readyz")
        states = {each["name"]: each["status"] for each in ready.json()["backends"]}
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert states.pop("sound") == "SERVING"
        assert states["hostile"] in {"UNKNOWN", "UNREACHABLE"}
        for path in ("/openapi.json", "/livez"):
            assert (await client.get(path)).status_code == 200
        assert server.process.returncode is None
    assert "Traceback" not in server.log
