"""The gateway serves its other backends if one answers without a message, or not at all."""

from __future__ import annotations

import json
from typing import Any

import grpc
import httpx
import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from mcp import Client

from tests import factory
from tests.contrary import ContraryBackend, answering, refusing
from tests.gateways import FACES, FaceName, RefusedError, face, serving
from tests.mcp.wire import wire
from tests.ports import unused_address

DONE = operations_pb2.Operation(name="jobs/1", done=True)
OPERATIONS = "google.longrunning.Operations"
SILENT = (
    "grpc.health.v1.Health/Check",
    *(f"{OPERATIONS}/{verb}Operation" for verb in ("Get", "Wait", "Cancel", "Delete")),
    f"{OPERATIONS}/ListOperations",
)


@pytest.mark.parametrize("kind", FACES)
async def test_an_answer_without_a_message_is_malformed_and_other_backends_are_served(
    kind: FaceName,
) -> None:
    """For such an answer gRPC returns None, in calls, in lists and in health checks."""
    listed = operations_pb2.ListOperationsResponse(operations=[DONE])
    handlers = {"GetOperation": answering(DONE), "ListOperations": answering(listed)}
    async with (
        ContraryBackend.open({}, silent=SILENT) as silent,
        ContraryBackend.open(handlers) as sound,
        serving(
            {"name": "silent", "target": silent.target},
            {"name": "sound", "target": sound.target},
        ) as url,
        face(kind, url) as client,
    ):
        for verb in (client.get, client.wait, client.cancel, client.delete):
            with pytest.raises(RefusedError) as caught:
                await verb("//silent/jobs/1")
            assert caught.value.reason == "MALFORMED_RESPONSE"
        assert (await client.get("//sound/jobs/1"))["done"] is True
        page = await client.list(returnPartialSuccess=True)
        assert [each["name"] for each in page["operations"]] == ["//sound/jobs/1"]
        assert page["unreachable"] == ["//silent"]
        async with httpx.AsyncClient(base_url=url) as http:
            ready = await http.get("/readyz")
    assert ready.status_code == 200
    assert [(each["name"], each["status"]) for each in ready.json()["backends"]] == [
        ("silent", "UNKNOWN"),
        ("sound", "SERVING"),
    ]


STARTS = [
    ("POST", "/v1/machines:build"),
    ("POST", "/v1/lines/1/machines"),
    ("PATCH", "/v1/lines/1/machines/2"),
    ("DELETE", "/v1/lines/1/machines/2"),
    ("GET", "/v1/lines/1/machines/2"),
]


@pytest.mark.parametrize(("method", "path"), STARTS)
async def test_a_start_of_a_backend_that_was_never_reached_is_unavailable(
    method: str, path: str
) -> None:
    """The path may be a route of this backend, so the answer is not that the path is unknown."""
    target = unused_address()
    settings = {"name": "plant", "target": target, "operations": ["ops/*"]}
    async with serving(settings) as url, httpx.AsyncClient(base_url=url) as client:
        response = await client.request(method, path, json=None if method == "GET" else {})
    error = response.json()["error"]
    assert (response.status_code, error["status"]) == (503, "UNAVAILABLE")
    assert f"backend 'plant' at {target} cannot be reached" in error["message"]
    assert error["details"][0]["metadata"]["backend"] == "plant"


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/things/1"), ("DELETE", "/v1/things/1")])
async def test_a_path_that_another_backend_does_not_know_may_be_the_unreached_ones(
    method: str, path: str
) -> None:
    """A backend without patterns may have every name, and its NOT_FOUND settles nothing here."""
    missing = refusing(grpc.StatusCode.NOT_FOUND, "no such operation")
    handlers = {"GetOperation": missing, "DeleteOperation": missing}
    target = unused_address()
    async with (
        ContraryBackend.open(handlers) as backend,
        serving(
            {"name": "plant", "target": target, "operations": ["ops/*"]},
            {"name": "sound", "target": backend.target},
        ) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        response = await client.request(method, path)
        named = await client.request(method, f"{path}?backend=sound")
    assert response.status_code == 503
    assert f"backend 'plant' at {target} cannot be reached" in response.text
    assert named.status_code == 404


async def test_a_named_backend_that_was_never_reached_may_offer_what_another_one_offers() -> None:
    """A client tries again after UNAVAILABLE. INVALID_ARGUMENT would end its attempts."""
    target = unused_address()
    methods = {f"{factory.SERVICE}/BuildMachine": answering(operations_pb2.Operation(name="ops/1"))}
    path = f"/v1/{factory.SERVICE}/BuildMachine"
    async with (
        ContraryBackend.open(
            {}, methods=methods, pool=factory.pool(), reflection_versions=("v1",)
        ) as sound,
        serving(
            {"name": "plant", "target": target}, {"name": "sound", "target": sound.target}
        ) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        sound_answer = await client.post(f"{path}?backend=sound", json=factory.ORDER)
        assert sound_answer.status_code == 200
        response = await client.post(f"{path}?backend=plant", json=factory.ORDER)
    assert response.status_code == 503
    assert f"backend 'plant' at {target} cannot be reached" in response.text


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_tool_of_a_backend_that_was_never_reached_is_unavailable(mode: Any) -> None:
    """The tool may be one of this backend, so the answer is not that the tool is unknown."""
    target = unused_address()
    async with (
        serving({"name": "plant", "target": target}) as url,
        Client(f"{url}/mcp", mode=mode) as client,
    ):
        result = await client.call_tool("build_machine", {})
    (first, _) = (each.text for each in result.content if isinstance(each, types.TextContent))
    status = json.loads(first)
    assert (result.is_error, status["status"]) == (True, "UNAVAILABLE")
    assert f"backend 'plant' at {target} cannot be reached" in status["message"]


async def test_a_task_of_a_backend_that_was_never_reached_is_unavailable() -> None:
    """A start with a core task of 2025-11-25 fails with the same error as a start without one."""
    target = unused_address()
    async with (
        serving({"name": "plant", "target": target}) as url,
        wire(f"{url}/mcp", "2025-11-25") as core,
    ):
        created = await core("tools/call", name="build_machine", arguments={}, task={})
        task = await core("tasks/get", taskId=created["task"]["taskId"])
    assert task["status"] == "failed"
    assert task["statusMessage"].startswith("The call to backend plant failed with UNAVAILABLE.")


async def test_a_start_works_once_the_backend_comes_up() -> None:
    """The gateway does not need a restart."""
    address = unused_address()
    methods = {f"{factory.SERVICE}/Overhaul": answering(operations_pb2.Operation(name="ops/1"))}
    path = f"/v1/{factory.SERVICE}/Overhaul"
    async with (
        serving({"name": "plant", "target": address}) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        assert (await client.post(path, json={})).status_code == 503
        async with ContraryBackend.open(
            {},
            methods=methods,
            pool=factory.pool(),
            reflection_versions=("v1",),
            address=address,
        ):
            while (response := await client.post(path, json={})).status_code == 503:
                assert "plant" in response.text
    assert response.json()["name"] == "ops/1"


async def test_an_unknown_path_is_not_found_if_a_backend_has_no_reflection() -> None:
    """The answer is not 503, because the methods stay unknown and clients repeat after 503."""
    async with (
        ContraryBackend.open({}) as backend,
        serving({"name": "plain", "target": backend.target}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        response = await client.post("/v1/machines:build", json={})
    assert response.status_code == 404
