"""`/livez` and `/readyz`, as probes and people request them."""

from __future__ import annotations

import httpx
import pytest

from tests.contrary import ContraryBackend
from tests.gateways import serving
from tests.ports import unused_address


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health_is_answered_to_get_and_head_in_the_form_of_other_responses(path: str) -> None:
    """Load balancers send HEAD, and people read the response to GET."""
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        got, head = await client.get(path), await client.head(path)
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == got.headers[name]
    assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert got.text.startswith('{\n  "status": "ok"')


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/docs", "/openapi.json", "/static-offline-docs/favicon.png"]
)
async def test_an_own_page_names_every_verb_that_it_serves(path: str) -> None:
    """RFC 9110 wants all of them in Allow. The gateway may have a prefix."""
    async with serving(root_path="/lro") as url, httpx.AsyncClient(base_url=url) as client:
        response = await client.put(path)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


async def test_livez_answers_whatever_the_backends_do() -> None:
    """`/livez` reports the process only."""
    async with (
        serving({"name": "b", "target": unused_address()}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        response = await client.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_readyz_reports_each_backend() -> None:
    """`ok` if all backends serve, `degraded` if only some do, and 503 if none does."""
    nowhere = unused_address()
    async with ContraryBackend.open({}) as backend:
        up = {"name": "up", "target": backend.target}
        down = {"name": "down", "target": nowhere}
        up_report = {"name": "up", "target": backend.target, "status": "SERVING"}
        answers = []
        for backends in ([], [up], [up, down], [down]):
            async with serving(*backends) as url, httpx.AsyncClient(base_url=url) as client:
                response = await client.get("/readyz")
                answers.append((response.status_code, response.json()))
    message = answers[3][1]["backends"][0]["message"]
    assert message.startswith(f"backend 'down' at {nowhere} cannot be reached: ")
    down_report = {
        "name": "down",
        "target": nowhere,
        "status": "UNREACHABLE",
        "message": message,
    }
    assert answers == [
        (200, {"status": "ok", "backends": []}),
        (200, {"status": "ok", "backends": [up_report]}),
        (200, {"status": "degraded", "backends": [up_report, down_report]}),
        (503, {"status": "unavailable", "backends": [down_report]}),
    ]
