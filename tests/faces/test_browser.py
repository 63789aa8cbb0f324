"""A page in a real browser can call the gateway if its origin is allowed, and only then."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import uvicorn
from google.longrunning import operations_pb2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from lro_gateway.config.limits import LimitsConfig
from lro_gateway.config.models import ServerConfig
from lro_gateway.serving.connections import Connections
from lro_gateway.serving.http import HttpServer, address_of, bind
from tests.contrary import ContraryBackend, knowing
from tests.gateways import serving

pytestmark = pytest.mark.anyio

PAGE: Final = Path(__file__).parent / "browser_page.html"
BROWSERS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ALL: Final = knowing(operations_pb2.Operation(name="jobs/1", done=True))


class Site:
    """A web site with the page. `outcomes` gets what the page has posted."""

    def __init__(self) -> None:
        self.outcomes: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def page(self, _request: Request) -> Response:
        return HTMLResponse(PAGE.read_text())

    async def post(self, request: Request) -> Response:
        self.outcomes.set_result(await request.json())
        return Response(status_code=204)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve the site; yield its origin."""
        routes = [Route("/", self.page), Route("/outcomes", self.post, methods=["POST"])]
        listener = bind(ServerConfig(port=0))
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off")
        server = HttpServer(config, address_of(listener), Connections(LimitsConfig()))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        try:
            yield f"http://{server.address}"
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def browser(url: str, profile: Path) -> AsyncIterator[None]:
    """Show a page in a browser until the context ends."""
    command = next(filter(None, map(shutil.which, BROWSERS)), None)
    if command is None:
        problem = "Chromium is not installed; run scripts/setup --tests as root on Debian"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)
    process = await asyncio.create_subprocess_exec(
        *(command, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *(f"--user-data-dir={profile}", "--remote-debugging-port=0", url),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        # The command may be a script whose child is the browser.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def outcomes_of(tmp_path: Path, *, is_allowed: bool) -> Any:
    """Return what the page has found when it called a gateway that allows its origin or not."""
    site = Site()
    async with (
        ContraryBackend.open(ALL) as backend,
        site.serving() as origin,
        serving(
            {"name": "b", "target": backend.target},
            allowed_origins=[origin if is_allowed else "https://console.test"],
            max_body_bytes=1024,
        ) as url,
        browser(f"{origin}/?{urlencode({'gateway': url})}", tmp_path),
        asyncio.timeout(90),
    ):
        return await site.outcomes


async def test_a_page_of_an_allowed_origin_calls_rest_mcp_and_events(tmp_path: Path) -> None:
    """It reads answers, their headers, and errors. Some calls need a preflight request."""
    assert await outcomes_of(tmp_path, is_allowed=True) == {
        "read": [200, "jobs/1", True],
        "tooLarge": [413, "BODY_TOO_LARGE"],
        "initialize": [200, True],
        "watch": True,
    }


async def test_a_page_of_another_origin_reads_nothing(tmp_path: Path) -> None:
    """The browser does not give the page any answer, although both are on loopback."""
    calls = ("read", "tooLarge", "initialize", "watch")
    assert await outcomes_of(tmp_path, is_allowed=False) == dict.fromkeys(calls, "TypeError")
