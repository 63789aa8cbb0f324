"""The pages of a gateway that identifies its callers, in a real browser."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http
from tests.contrary import ContraryBackend, answering
from tests.faces.chromium import Page, browsing
from tests.rest.console.test_routes import AXE

RUNNING: Final = operations_pb2.Operation(name="jobs/1")
LISTED: Final = operations_pb2.ListOperationsResponse(operations=[RUNNING])
ROWS: Final = "document.querySelectorAll('#rows tr').length"
ASKED: Final = "document.querySelector('#signin:not([hidden]) #reason')?.textContent"
TOLD: Final = "document.getElementById('connection')?.textContent"


@asynccontextmanager
async def guarded(
    directory: Path, policy: Sequence[Mapping[str, Any]] | None = None
) -> AsyncIterator[tuple[str, str]]:
    """Serve two backends, one without lists, to one static token; yields the URL and the token."""
    token, entry = new_token("ana")
    (directory / "tokens").write_text(entry.line)
    handlers = {"GetOperation": answering(RUNNING), "ListOperations": answering(LISTED)}
    async with (
        ContraryBackend.open(handlers) as listing,
        ContraryBackend.open({"GetOperation": answering(RUNNING)}) as listless,
    ):
        named = {"one": listing.target, "other": listless.target}
        settings = {
            "server": {"port": 0},
            "auth": {"tokens": str(directory / "tokens")},
            "backends": [
                {"name": name, "target": target, "descriptors": []}
                for name, target in named.items()
            ],
        }
        config = GatewayConfig.model_validate(settings | ({"policy": policy} if policy else {}))
        async with Gateway.open(config) as gateway, serve_http(gateway) as server:
            yield server.url, token


async def enter(page: Page, token: str) -> None:
    """Enter a token in the form."""
    await page.evaluate(
        f"document.getElementById('token').value = {json.dumps(token)};"
        " document.getElementById('signin').requestSubmit()"
    )


async def test_the_page_asks_for_a_token_and_never_puts_it_into_an_address(tmp_path: Path) -> None:
    """The token stays in the tab, over its links, until the person forgets it."""
    async with (
        guarded(tmp_path) as (url, token),
        browsing(f"{url}/", tmp_path / "profile") as page,
    ):
        assert "Paste your token here" in await page.until(ASKED)
        if AXE.exists():
            await page.evaluate(await asyncio.to_thread(AXE.read_text))
            found: Any = await page.evaluate("axe.run().then((found) => found.violations)")
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
        await enter(page, "wrong")
        refused = await page.until(f"{ASKED}?.includes('neither') && {ASKED}")
        assert refused.startswith("The gateway has refused your token: the token is neither")
        await enter(page, token)
        await page.until(f"{ROWS} === 1")
        await page.until(
            "document.getElementById('missing').textContent === 'Without the operations of other'"
        )
        await page.evaluate("document.querySelector('#states a[href=\"?state=running\"]').click()")
        await page.until(f"location.search === '?state=running' && {ROWS} === 1")
        assert not await page.evaluate(f"{ASKED}")
        await page.evaluate("document.querySelector('#rows a').click()")
        await page.until("document.getElementById('facts').textContent.includes('running')")
        await page.evaluate("document.getElementById('raw').click()")
        shown = await page.until("document.getElementById('shown').textContent")
        assert json.loads(shown)["name"] == "//one/jobs/1"
        # The browser notes an address a moment after the answer of it has ended.
        resources = "performance.getEntriesByType('resource').map((each) => each.name)"
        await page.until(f"{resources}.some((each) => each.includes('/v1/operations?'))")
        addresses = await page.evaluate(f"[location.href, ...{resources}]")
        assert not any(token in each for each in addresses)
        kept = "[localStorage.length, document.cookie, sessionStorage.length]"
        assert await page.evaluate(kept) == [0, "", 1]
        await page.evaluate("document.getElementById('data').close()")
        await page.evaluate("document.getElementById('forget').click()")
        await page.until(ASKED)
        assert await page.evaluate("sessionStorage.length") == 0
        assert [each for each in page.problems if "401" not in each] == []


async def test_the_page_asks_again_when_the_token_has_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream ends with the token, and the next one is refused."""
    monkeypatch.setattr("lro_gateway.access.identity.static_tokens._BETWEEN_LOOKS", 0.0)
    async with (
        guarded(tmp_path) as (url, _),
        browsing(f"{url}/", tmp_path / "profile") as page,
    ):
        await page.until(ASKED)
        # A busy machine needs long until the page shows the operation.
        for seconds in (3, 10, 40):
            token, entry = new_token("ana", expires=time.time() + seconds)
            (tmp_path / "tokens").write_text(entry.line)
            await enter(page, token)
            await page.until(f"{ROWS} === 1 || {ASKED}?.includes('expired')")
            if await page.evaluate(f"{ROWS} === 1"):
                break
        assert await page.evaluate(f"{ROWS} === 1")
        assert "expired" in await page.until(f"{ASKED}?.includes('expired') && {ASKED}")


async def test_the_page_says_in_words_what_a_person_may_not_do(tmp_path: Path) -> None:
    """The rules of the policy decide."""
    reading = [{"allow": ["get", "list", "wait"]}]
    async with (
        guarded(tmp_path, policy=reading) as (url, token),
        browsing(f"{url}/", tmp_path / "profile") as page,
    ):
        await page.until(ASKED)
        await enter(page, token)
        await page.until(f"{ROWS} === 1")
        await page.evaluate("document.querySelector('#rows button').click()")
        await page.evaluate("document.getElementById('agree').click()")
        told = "document.getElementById('notice').textContent"
        assert "is not cancelled: " in await page.until(told)
    async with (
        guarded(tmp_path, policy=[{"allow": ["get"]}]) as (url, token),
        browsing(f"{url}/", tmp_path / "other profile") as page,
    ):
        await page.until(ASKED)
        await enter(page, token)
        assert "You may not see the operations: " in await page.until(
            f"{TOLD}?.startsWith('You may') && {TOLD}"
        )


async def test_events_are_read_and_followed_as_event_source_does(tmp_path: Path) -> None:
    """Lines may end in three ways, and in the middle of a part of the answer."""
    async with (
        guarded(tmp_path) as (url, _),
        browsing(f"{url}/", tmp_path / "profile") as page,
    ):
        await page.until(ASKED)
        found = await page.evaluate("""
          (async () => {
            const parts = [
              ["retry: 10\\r", "\\n: a comment\\r\\nid: 7\\ndata: {\\n", "data:}\\n\\nevent: stat",
               "us\\rdata: b\\r\\r", "data: cut"],
              ["id\\ndata\\n\\n"],
            ];
            const asked = [], events = [];
            let lost = 0;
            fetch = async (address, { headers }) => {
              asked.push([address, headers["last-event-id"] ?? null]);
              const part = parts.shift();
              if (!part) return new Response("gone", { status: 403 });
              const encoder = new TextEncoder();
              const body = new ReadableStream({ start(stream) {
                part.forEach((each) => stream.enqueue(encoder.encode(each)));
                stream.close();
              } });
              return new Response(body, { headers: { "content-type": "text/event-stream" } });
            };
            await followEvents("x", {
              opened: () => events.push("opened"),
              listed: () => events.push("listed"),
              take: (type, data) => events.push([type, data]),
              lost: () => lost++,
              refused: (answer) => (events.push(answer.status), null),
            });
            return { asked, events, lost };
          })()
        """)
    assert found == {
        "asked": [["x", None], ["x", "7"], ["x", None]],
        "events": [
            *("opened", ["message", "{\n}"], "listed", ["status", "b"]),
            *("opened", ["message", ""], "listed", 403),
        ],
        "lost": 2,
    }


async def test_the_documentation_sends_the_token(tmp_path: Path) -> None:
    """Its page and its files hold no data, and the document is shown only with a token."""
    loaded = "document.querySelectorAll('.opblock').length"
    async with (
        guarded(tmp_path) as (url, token),
        httpx.AsyncClient(base_url=url) as http,
        browsing(f"{url}/docs", tmp_path / "profile") as page,
    ):
        assert (await http.get("/openapi.json")).status_code == 401
        assert "Paste your token here" in await page.until(ASKED)
        assert (
            await page.evaluate("document.getElementById('swagger-ui').checkVisibility()") is False
        )
        await enter(page, token)
        await page.until(loaded)
        # The only server is the gateway itself, which is nothing to choose.
        assert await page.evaluate("document.querySelectorAll('.servers').length") == 0
        assert await page.evaluate("document.querySelector('.btn.authorize').textContent")
        addresses = await page.evaluate(
            "performance.getEntriesByType('resource').map((each) => each.name)"
        )
        assert not any(token in each for each in addresses)
        assert [each for each in page.problems if "401" not in each] == []


async def test_the_document_names_the_credentials(tmp_path: Path) -> None:
    """Probes need none."""
    async with (
        guarded(tmp_path) as (url, token),
        httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {token}"}) as http,
    ):
        document = (await http.get("/openapi.json")).json()
    assert document["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["paths"]["/livez"]["get"]["security"] == []
