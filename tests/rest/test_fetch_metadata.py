"""Requests that web pages cause: no image and no link of another origin starts anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from google.api import annotations_pb2
from google.longrunning import operations_pb2

from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
from tests.strange import OPERATION, Strange

RUNNING = operations_pb2.Operation(name="jobs/1")
CONSOLE = "https://console.test"
VISIT = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-user": "?1"}
IMAGE = {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
FRAME = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
FETCH = {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
START = "/v1/backups/1:restore"
TRIGGER = "/v1/builds/1:trigger"
ANY = "/v1/any/1"
READ = "/v1/backups/1"
JOB = "/v1/jobs/1"
"""The paths: a start by GET, a plain method that is no read, any HTTP verb, and two reads."""


def strange() -> Strange:
    """Return a service whose methods have rules for GET."""
    made = Strange()
    made.message("Request", "name")
    made.message("Backup", "name")
    made.method("Restore", "strange.Request", get="/v1/{name=backups/*}:restore")
    made.method("Trigger", "strange.Request", "strange.Backup", get="/v1/{name=builds/*}:trigger")
    made.method("GetBackup", "strange.Request", "strange.Backup", get="/v1/{name=backups/*}")
    made.method("Anything", "strange.Request")
    rule = made.service.method[-1].options.Extensions[annotations_pb2.http]
    rule.custom.kind, rule.custom.path = "*", "/v1/{name=any/*}"
    return made


@pytest.fixture(scope="module")
async def backend() -> AsyncIterator[ContraryBackend]:
    """Serve the methods and the operation `jobs/1`."""
    pool = strange().pool()
    backup = b""
    methods = {
        f"strange.Strange/{method.name}": answering(
            RUNNING if method.output_type.endswith(OPERATION) else backup
        )
        for method in strange().service.method
    }
    async with ContraryBackend.open(
        {"GetOperation": answering(RUNNING)},
        methods=methods,
        reflection_versions=("v1",),
        pool=pool,
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
async def url(backend: ContraryBackend) -> AsyncIterator[str]:
    """Serve a gateway that allows one origin."""
    configured = {"name": "b", "target": backend.target, "methods": ["*"]}
    async with serving(configured, allowed_origins=[CONSOLE], sync_grace="0s") as opened:
        yield opened


@pytest.fixture
async def client(url: str, backend: ContraryBackend) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client; the backend starts with no recorded calls."""
    backend.calls.clear()
    async with httpx.AsyncClient(base_url=url) as opened:
        yield opened


async def reason(client: httpx.AsyncClient, path: str, **headers: str) -> str | None:
    """Return the reason that refuses a GET with these headers, or None if it is answered."""
    response = await client.get(path, headers=headers)
    if response.status_code == 200:
        return None
    assert response.status_code == 403
    return str(response.json()["error"]["details"][0]["reason"])


@pytest.mark.parametrize("how", [IMAGE, FRAME, FETCH], ids=["image", "frame", "fetch"])
@pytest.mark.parametrize("path", [START, TRIGGER, ANY, READ, JOB, "/docs", "/openapi.json"])
async def test_a_page_of_another_site_causes_no_request(
    client: httpx.AsyncClient, backend: ContraryBackend, path: str, how: dict[str, str]
) -> None:
    """A browser sends no Origin with the GET of an image, so Sec-Fetch-Site is checked."""
    cross_site = {"sec-fetch-site": "cross-site", **how}
    assert await reason(client, path, **cross_site) == "CROSS_SITE_REQUEST"
    assert backend.answered == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "a-value-of-the-future"])
async def test_a_link_opens_pages_and_reads_and_starts_nothing(
    client: httpx.AsyncClient, backend: ContraryBackend, site: str
) -> None:
    """A person may open the documentation or an operation by a link in a ticket."""
    visit = {"sec-fetch-site": site, **VISIT}
    for path in (READ, JOB, "/docs", "/openapi.json"):
        assert await reason(client, path, **visit) is None
    backend.calls.clear()
    for path in (START, TRIGGER, ANY):
        assert await reason(client, path, **visit) == "CROSS_SITE_REQUEST"
    assert backend.answered == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none", **VISIT},
        {"sec-fetch-site": "same-origin", **FETCH},
        {"sec-fetch-site": "cross-site", "origin": CONSOLE, **FETCH},
        {"sec-fetch-site": "cross-site", "origin": "http://localhost:3000", **FETCH},
    ],
    ids=["curl", "typed", "own page", "allowed origin", "page on loopback"],
)
async def test_programs_own_pages_and_allowed_origins_may_do_everything(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """EventSource of an allowed origin sends the same headers as its fetch."""
    for path in (START, TRIGGER, ANY, READ, JOB):
        assert await reason(client, path, **headers) is None
    events = {"accept": "text/event-stream", **headers}
    async with client.stream("GET", f"{JOB}:watch", headers=events) as response:
        assert response.headers["content-type"].startswith("text/event-stream")


async def test_a_page_on_loopback_may_read_without_an_origin(client: httpx.AsyncClient) -> None:
    """Its requests carry `same-site`, because a site has no port. Its images start nothing."""
    image = {"sec-fetch-site": "same-site", **IMAGE}
    assert await reason(client, JOB, **image) is None
    assert await reason(client, START, **image) == "CROSS_SITE_REQUEST"


async def test_a_page_of_another_host_of_the_same_site_is_refused(backend: ContraryBackend) -> None:
    """On a gateway with a host name, pages of sibling hosts are other origins."""
    configured = {"name": "b", "target": backend.target}
    async with (
        serving(configured, allowed_hosts=["gateway.test"]) as url,
        httpx.AsyncClient(base_url=url, headers={"host": "gateway.test"}) as client,
    ):
        image = {"sec-fetch-site": "same-site", **IMAGE}
        assert await reason(client, JOB, **image) == "CROSS_SITE_REQUEST"


@pytest.mark.parametrize("verb", ["POST", "DELETE", "HEAD"])
async def test_only_a_get_counts_as_a_visit(client: httpx.AsyncClient, verb: str) -> None:
    """A form on another page must not cancel or delete."""
    response = await client.request(verb, JOB, headers={"sec-fetch-site": "cross-site", **VISIT})
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("path", "allow"),
    [(START, "GET"), (TRIGGER, "GET"), (ANY, "DELETE, GET, PATCH, POST, PUT")],
)
async def test_head_starts_nothing(
    client: httpx.AsyncClient, backend: ContraryBackend, path: str, allow: str
) -> None:
    """RFC 9110 calls HEAD safe, and its response would not show the operation's name."""
    response = await client.head(path)
    assert (response.status_code, response.headers["allow"]) == (405, allow)
    assert backend.answered == []
    refused = await client.request("PUT" if path != ANY else "GET", path)
    assert refused.headers.get("allow", allow) == allow


async def test_head_of_a_read_is_served(client: httpx.AsyncClient) -> None:
    """Its path also has HEAD in `Allow`."""
    assert (await client.head(READ)).status_code == 200
    assert (await client.put(READ)).headers["allow"] == "GET, HEAD"


async def test_the_operator_can_state_that_a_get_only_reads(backend: ContraryBackend) -> None:
    """The setting `hints` decides for HEAD and for links too."""
    hints: dict[str, Any] = {"*/Trigger": {"read_only": True}}
    configured = {"name": "b", "target": backend.target, "methods": ["*"], "hints": hints}
    async with serving(configured) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.head(TRIGGER)).status_code == 200
        assert await reason(client, TRIGGER, **{"sec-fetch-site": "cross-site", **VISIT}) is None
