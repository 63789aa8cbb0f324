"""Operations that have ended, and whose backend answers later that they are not done."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty
from mcp import Client

from lro_gateway.backends.ended import EndedOperations
from lro_gateway.operations.names import BackendName
from tests.contrary import Answer, ContraryBackend, Handler, answering, refusing
from tests.gateways import serving
from tests.processes import served

JOB = BackendName("jobs/1")
RUNNING = operations_pb2.Operation(name=JOB)
DONE = operations_pb2.Operation(name=JOB, done=True)
WARNING = "the backend answered earlier that an operation of this answer was done"
ANOTHER = "the backend answered with another operation than the requested one"
LOGGED = "backend b: operation jobs/1 was done in an earlier answer, and now is not"


class Changing:
    """A backend whose operation has the state that a test sets."""

    def __init__(self, state: operations_pb2.Operation = DONE) -> None:
        self.state: Any = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers of its RPCs."""
        return {
            "GetOperation": self._get,
            "ListOperations": self._list,
            "DeleteOperation": answering(Empty()),
        }

    async def _get(self, request: Any, context: Any) -> Answer:
        if self.state is None:
            return await refusing(grpc.StatusCode.NOT_FOUND)(request, context)
        answer: Answer = self.state
        return answer

    async def _list(self, _request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.ListOperationsResponse(operations=[self.state])
        return answer


async def _read_anew(client: httpx.AsyncClient) -> httpx.Response:
    """Read until the gateway asks the backend again."""
    async with asyncio.timeout(60):
        while (answer := await client.get("/v1/jobs/1")).json()["done"]:
            pass
    return answer


async def test_a_server_flags_an_operation_that_is_no_longer_done(tmp_path: Path) -> None:
    """The caller gets the latest answer with a warning, and the log has a line.

    The kept state hides this for no longer than 5 seconds.
    """
    job = Changing()
    async with (
        ContraryBackend.open(job.handlers) as backend,
        served(tmp_path, {"name": "b", "target": backend.target}) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        done = await client.get("/v1/jobs/1")
        job.state = RUNNING
        back = await _read_anew(client)
        listed = await client.get("/v1/operations")
        tag = {"if-none-match": back.headers["etag"]}
        same = await client.get("/v1/jobs/1", headers=tag)
        async with client.stream("GET", "/v1/jobs/1:watch") as watch:
            watched = watch.headers
        async with Client(f"{server.url}/mcp", mode="2026-07-28") as mcp:
            read = await mcp.call_tool("get_operation", {"name": JOB})
            page = await mcp.call_tool("list_operations", {})
        await server.logged(LOGGED)
        job.state = DONE
        async with asyncio.timeout(60):
            while not (again := await client.get("/v1/jobs/1")).json()["done"]:
                pass
    assert "lro-gateway-warning" not in done.headers
    assert "lro-gateway-warning" not in again.headers
    assert back.json() == {"name": JOB, "done": False}
    for headers in (back.headers, listed.headers, same.headers, watched):
        assert headers["lro-gateway-warning"] == WARNING
    assert same.status_code == 304
    assert "answered earlier that it was done" in read.content[1].text  # type: ignore[union-attr]
    assert "that 1 of the running ones was done" in page.content[1].text  # type: ignore[union-attr]


@pytest.mark.parametrize("end", ["delete", "not found"])
async def test_a_name_that_is_given_again_is_not_flagged(end: str, tmp_path: Path) -> None:
    """After an operation is deleted or gone, a new one may have its name."""
    job = Changing()
    async with (
        ContraryBackend.open(job.handlers) as backend,
        served(tmp_path, {"name": "b", "target": backend.target, "freshness": "0s"}) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        assert (await client.get("/v1/jobs/1")).json()["done"]
        if end == "delete":
            assert (await client.delete("/v1/jobs/1")).status_code == 200
        else:
            job.state = None
            assert (await client.get("/v1/jobs/1")).status_code == 404
        job.state = RUNNING
        answer = await client.get("/v1/jobs/1")
    assert answer.json()["done"] is False
    assert "lro-gateway-warning" not in answer.headers


async def test_an_answer_to_a_call_from_before_the_end_is_no_contradiction() -> None:
    """Two calls may run at a time, and the later one may be answered first."""
    ended = EndedOperations()
    assert not ended.is_back(JOB, done=True, asked=0)
    assert not ended.is_back(JOB, done=False, asked=0)
    assert ended.is_back(JOB, done=False, asked=float("inf"))


async def test_the_operations_whose_end_was_answered_last_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backend may have any number of operations, and a list shows many."""
    monkeypatch.setattr("lro_gateway.backends.ended._MAX_ENDED", 2)
    ended = EndedOperations()
    for name in ("", "a", "b", "a", "c"):
        ended.is_back(BackendName(name), done=True, asked=0)
    assert [name in ended for name in map(BackendName, ("", "a", "b", "c"))] == [
        *(False, True, False, True)
    ]


async def test_an_answer_about_another_operation_is_flagged() -> None:
    """A caller that waits for its operation must not take the end of another one for its end."""
    other = answering(operations_pb2.Operation(name="jobs/2", done=True))
    async with (
        ContraryBackend.open({"GetOperation": other}) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as client,
        Client(f"{url}/mcp", mode="2026-07-28") as mcp,
    ):
        requested = await client.get("/v1/jobs/2")
        answers = [await client.get("/v1/jobs/1"), await client.post("/v1/jobs/1:wait")]
        read = await mcp.call_tool("get_operation", {"name": JOB})
    assert "lro-gateway-warning" not in requested.headers
    for answer in answers:
        assert answer.json() == {"name": "jobs/2", "done": True}
        assert answer.headers["lro-gateway-warning"] == ANOTHER
    assert read.content[1].text.startswith(  # type: ignore[union-attr]
        "Caution: the service answered with another operation than the requested one."
    )
