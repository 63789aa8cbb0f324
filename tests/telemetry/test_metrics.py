"""Each metric that the gateway records is at `/metrics`, in the text format of Prometheus."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import httpx
import pytest
from google.longrunning import operations_pb2
from mcp import Client
from prometheus_client.parser import text_string_to_metric_families

from tests.contrary import ContraryBackend, answering
from tests.gateways import serving

DONE = operations_pb2.Operation(name="jobs/1", done=True)
GET = "google.longrunning.Operations/GetOperation"
DOCS = Path(__file__).parents[2] / "docs/operating.md"


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Return the value of each sample by its name and its labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def new_samples(old: Samples, new: Samples, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Return how much the samples of one name have grown, by their labels."""
    return {
        tuple(sorted(key[1])): value - old.get(key, 0.0)
        for key, value in new.items()
        if key[0] == name and value != old.get(key, 0.0)
    }


async def test_a_read_over_rest_and_over_mcp_is_counted_at_each_edge() -> None:
    """The labels tell the verb, the backend, the RPC, the HTTP status and the method of MCP."""
    async with (
        ContraryBackend.open({"GetOperation": answering(DONE)}) as backend,
        serving({"name": "metered", "target": backend.target, "descriptors": []}) as url,
        httpx.AsyncClient(base_url=url) as client,
        Client(f"{url}/mcp", mode="2026-07-28") as agent,
    ):
        before = samples((await client.get("/metrics")).text)
        assert (await client.get("/v1/jobs/1")).status_code == 200
        assert (await client.get("/v1/jobs/1:cancel")).status_code == 405
        await agent.call_tool("get_operation", {"name": "jobs/1"})
        await agent.call_tool("delete_operation", {"name": "jobs/1"})
        response = await client.get("/metrics")
    after = samples(response.text)
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    verbs = new_samples(before, after, "lro_gateway_verb_duration_seconds_count")
    known = ("backend", "metered")
    assert verbs == {
        (known, ("code", "OK"), ("method", ""), ("verb", "get")): 2,
        (known, ("code", "UNIMPLEMENTED"), ("method", ""), ("verb", "delete")): 1,
    }
    rpcs = new_samples(before, after, "rpc_client_call_duration_seconds_count")
    code, system = ("rpc_response_status_code", "OK"), ("rpc_system_name", "grpc")
    assert rpcs[known, ("rpc_method", GET), code, system] == 2
    requests = new_samples(before, after, "http_server_request_duration_seconds_count")
    assert requests[("http_request_method", "GET"), ("http_response_status_code", "405")] == 1
    calls = new_samples(before, after, "mcp_server_operation_duration_seconds_count")
    method = ("mcp_method_name", "tools/call")
    assert calls[("error_type", ""), method] == 1
    assert calls[("error_type", "tool_error"), method] == 1


async def test_a_caller_cannot_make_labels() -> None:
    """Unknown methods of HTTP and of MCP, and names of operations, share one label."""
    async with (
        ContraryBackend.open({"GetOperation": answering(DONE)}) as backend,
        serving({"name": "b", "target": backend.target, "descriptors": []}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for number in range(3):
            await client.request(("LOCK", "COPY", "MOVE")[number], "/v1/jobs/1")
            body = {"jsonrpc": "2.0", "id": 1, "method": f"made/{number}"}
            await client.post("/mcp", json=body, headers={"mcp-protocol-version": "2025-06-18"})
            await client.get(f"/v1/jobs/made{number}")
        text = (await client.get("/metrics")).text
    assert "made" not in text
    assert 'http_request_method="_OTHER"' in text


async def test_every_metric_is_described() -> None:
    """docs/operating.md has each metric, except those of the process, with its labels."""
    async with (
        ContraryBackend.open({"GetOperation": answering(DONE)}) as backend,
        serving({"name": "b", "target": backend.target, "descriptors": []}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        families = [*text_string_to_metric_families((await client.get("/metrics")).text)]
    names = {
        f"{each.name}_total" if each.type == "counter" else each.name
        for each in families
        if not each.name.startswith("process_")
    }
    section = DOCS.read_text().partition("## Metrics")[2].partition("\n## ")[0]
    described = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert described == names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="scripts/setup --tests gets promtool")
async def test_promtool_finds_no_fault() -> None:
    """Prometheus' own linter accepts the text."""
    async with (
        ContraryBackend.open({"GetOperation": answering(DONE)}) as backend,
        serving({"name": "b", "target": backend.target, "descriptors": []}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        await client.get("/v1/jobs/1")
        text = (await client.get("/metrics")).content
    process = await asyncio.create_subprocess_exec(
        *("promtool", "check", "metrics"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    found, _ = await process.communicate(text)
    assert (found.decode(), process.returncode) == ("", 0)
