"""The page at `/` in a real browser, and what other clients get there."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway import __version__
from lro_gateway.demo.databases import damage
from lro_gateway.rest.console.routes import OPEN
from lro_gateway.rest.suggestions import OWN_PAGES
from tests.commands.stage import Stage, staged
from tests.contrary import ContraryBackend, answering
from tests.faces.chromium import Page, browsing
from tests.gateways import serving

pytestmark = pytest.mark.anyio

AXE: Final = Path(__file__).parents[3] / ".venv/node-backend/node_modules/axe-core/axe.min.js"
ROWS: Final = "document.querySelectorAll('#rows tr')"
WIDTHS: Final = (320, 400, 700, 900, 1000, 1200, 1300)
"""Widths of windows, in pixels: those of phones, of halves of a screen, and of a screen."""
OVERFLOWS: Final = """[document.documentElement, ...document.querySelectorAll('.scroll')]
    .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.outerHTML)"""
"""The JavaScript expression of what is wider than its place in the page."""


def lines_of(selector: str, text: str) -> str:
    """Return the JavaScript expression of the number of lines of a text in an element."""
    return f"""(() => {{
      const node = document.querySelector({selector!r}).firstChild;
      const range = document.createRange(), at = node.data.indexOf({text!r});
      range.setStart(node, at);
      range.setEnd(node, at + {len(text)});
      return new Set([...range.getClientRects()].map((each) => each.top)).size;
    }})()"""


def row(name: str) -> str:
    """Return the JavaScript expression of the text of an operation's row, or of undefined."""
    return f"[...{ROWS}].find((row) => row.textContent.includes('{name}'))?.textContent"


async def click(page: Page, selector: str) -> None:
    """Click the element that a CSS selector finds."""
    await page.evaluate(f"document.querySelector({selector!r}).click()")


async def test_other_clients_get_the_addresses_as_json(stage: Stage) -> None:
    """The addresses are relative, and each of them answers."""
    async with httpx.AsyncClient(base_url=stage.url) as http:
        found = await http.get("/")
        links = found.json()
        assert (links.pop("name"), links.pop("version")) == ("lro-gateway", __version__)
        assert set(links) == {"operations", "mcp", "docs", "openapi", "health"}
        answers = {name: (await http.get(f"/{path}")).status_code for name, path in links.items()}
    assert answers == {"operations": 200, "mcp": 405, "docs": 200, "openapi": 200, "health": 200}
    assert found.headers["vary"] == "accept"


async def test_a_browser_gets_a_page_that_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Its policy forbids scripts in the page. Its base is the path before the gateway."""
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url) as http:
        page = await http.get("/", headers={"accept": "text/html,*/*"})
        assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src")
        assert '<base href="/">' in page.text
        assert re.findall(r"(?:src|href)=\"(?!data:)(\w+:)?//", page.text) == []
        assert re.search(r"<script>|<style>|\son\w+=|style=", page.text) is None
        for path in re.findall(r'(?:src|href)="([\w.]+)"', page.text):
            assert (await http.head(f"/{path}")).status_code == 200, path
        visit = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        link = {"accept": "text/html", "sec-fetch-site": "cross-site", **visit}
        assert (await http.get("/", headers=link)).status_code == 200


def test_no_method_gets_the_path_of_a_file_of_the_page() -> None:
    """A route that the page's own file would hide must be refused, and the log says so."""
    assert OPEN - {"/"} <= {*OWN_PAGES}


async def test_rows_are_live_and_a_filter_is_in_the_address(stage: Stage, tmp_path: Path) -> None:
    """An operation appears when it begins, and leaves the list of a state with the state."""
    await stage.client.create("orders")
    async with browsing(f"{stage.url}/", tmp_path / "profile") as page:
        await page.until(f"({row('orders')} ?? '').includes('succeeded')")
        await page.until(
            "document.getElementById('connection').textContent === '1 operation, live'"
        )
        async with stage.gate:
            begun = await stage.client.begin("archive")
            await page.until(f"({row(begun.name)} ?? '').includes('running')")
            await click(page, '#states a[href="?state=running"]')
            await page.until(f"location.search === '?state=running' && {ROWS}.length === 1")
            current = "document.querySelector('[aria-current]').textContent"
            assert await page.evaluate(current) == "running"
            told = "document.getElementById('connection').textContent"
            await page.until(f"{told} === '1 running operation, live'")
        await page.until(f"{ROWS}.length === 0")
        assert await page.evaluate(told) == "No running operations yet; the list is live"
        assert page.problems == []


async def test_rows_fit_into_windows_of_all_widths(stage: Stage, tmp_path: Path) -> None:
    """No word of a state is broken, and a name is first broken after a slash.

    In a narrow window the state is above the name.
    """
    stage.gate.hold()
    begun = await stage.client.begin("warehouse-2", 10_000)
    await stage.gate.arrival()
    stage.gate.admit(9)
    await stage.gate.arrival()
    async with browsing(f"{stage.url}/", tmp_path / "profile") as page:
        await page.until(f"({row(begun.name)} ?? '').includes('INSERTING_ORDERS')")
        found = {}
        for width in WIDTHS:
            await page.resize(width)
            cut = await page.evaluate(OVERFLOWS)
            tops = """['.state', '.name'].map((each) =>
                document.querySelector(`#rows ${each}`).getBoundingClientRect().top)"""
            state, name = await page.evaluate(tops)
            found[width] = (
                cut,
                await page.evaluate(lines_of("#rows small", "INSERTING_ORDERS")),
                await page.evaluate(lines_of("#rows .part:nth-child(2)", "warehouse-2/")),
                state < name,
            )
    stage.gate.release()
    assert found == {width: ([], 1, 1, width < 900) for width in WIDTHS}


async def test_an_operation_that_was_deleted_leaves_the_page(stage: Stage, tmp_path: Path) -> None:
    """A page may be open for days."""
    await stage.client.create("orders")
    await stage.client.create("archive")
    async with (
        browsing(f"{stage.url}/", tmp_path / "profile") as page,
        httpx.AsyncClient(base_url=stage.url) as http,
    ):
        await page.until(f"{ROWS}.length === 2")
        listed = (await http.get("/v1/operations")).json()["operations"]
        (name,) = (each["name"] for each in listed if "orders" in each["name"])
        assert (await http.delete(f"/v1/{name}")).status_code == 200
        await page.until(f"{ROWS}.length === 1 && {row('archive')}")
        assert page.problems == []


async def test_a_running_operation_is_cancelled_after_a_question(tmp_path: Path) -> None:
    """Without the answer nothing is cancelled. A call that needs agreement has it by the answer."""
    confirm = ["google.longrunning.Operations/CancelOperation"]
    async with staged(tmp_path, confirm=confirm) as stage, stage.gate:
        begun = await stage.client.begin("orders")
        async with browsing(f"{stage.url}/", tmp_path / "profile") as page:
            await page.until("document.querySelector('#rows button')")
            await click(page, "#rows button")
            asked = await page.evaluate("document.getElementById('asked').textContent")
            assert asked == f"Cancel {begun.name}?"
            await click(page, "dialog button[value='']")
            assert not await page.evaluate("document.getElementById('question').open")
            await click(page, "#rows button")
            await click(page, "dialog button[value='cancel']")
            told = "document.getElementById('notice').textContent"
            await page.until(f"{told} === 'The cancellation of {begun.name} is requested'")
            stage.gate.release()
            await page.until(f"({row(begun.name)} ?? '').includes('cancelled')")
            assert page.problems == []


async def test_a_text_of_a_service_stays_a_text(tmp_path: Path) -> None:
    """Markup in a name or an error cannot become a part of the page."""
    async with staged(tmp_path) as stage:
        await stage.client.create("orders")
        damage(tmp_path / "orders.sqlite3")
        await stage.client.check("orders")
        async with browsing(f"{stage.url}/", tmp_path / "profile") as page:
            await page.until(f"{ROWS}.length === 2")
            hostile = "<img src=x onerror=alert(1)>"
            summary = {"state": "failed", "kind": hostile}
            operation = {"name": hostile, "summary": summary, "error": {"message": hostile}}
            await page.evaluate(f"show({json.dumps(operation)})")
            assert await page.evaluate("document.querySelectorAll('main img').length") == 0
            assert await page.evaluate(f"{ROWS}[2].textContent.split('<img').length") == 4


async def test_a_text_of_a_service_cannot_change_how_others_look(tmp_path: Path) -> None:
    """What shows nothing is an escape. The question names exactly what is cancelled."""
    async with staged(tmp_path) as stage:
        await stage.client.create("orders")
        async with browsing(f"{stage.url}/", tmp_path / "profile") as page:
            await page.until(f"{ROWS}.length === 1")
            hidden = "a\u202eb\u200bc\x1b\n\u2028\U000e0041 é宽🎉"
            summary = {
                "state": "running",
                "statusText": hidden,
                "createTime": "9999-01-01T00:00:00Z",
            }
            operation = {"name": hidden, "summary": summary}
            await page.evaluate(f"show({json.dumps(operation)})")
            await click(page, "#rows button")
            texts = [
                await page.evaluate(f"document.querySelector('{place}').textContent")
                for place in ("#rows a", "#rows small", "#asked")
            ]
            label = await page.evaluate("document.querySelector('#rows button').ariaLabel")
            seen = r"a\u202eb\u200bc\u001b\u000a\u2028\udb40\udc41 é宽🎉"
            assert [*texts, label] == [seen, seen, f"Cancel {seen}?", f"Cancel {seen}"]


async def test_the_page_tells_that_there_are_more(tmp_path: Path) -> None:
    """It shows the first hundred."""
    many: Any = operations_pb2.ListOperationsResponse(
        operations=[operations_pb2.Operation(name=f"operations/{n}") for n in range(100)],
        next_page_token="more",  # noqa: S106 - it is no password
    )
    async with (
        ContraryBackend.open({"ListOperations": answering(many)}) as backend,
        serving({"name": "odd", "target": backend.target}) as url,
        browsing(f"{url}/", tmp_path / "profile") as page,
    ):
        told = "document.getElementById('missing')?.textContent"
        assert await page.until(told) == "There are more operations than the page shows"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_the_page_is_accessible(stage: Stage, tmp_path: Path, *, dark: bool) -> None:
    """The program axe finds no violation, also while the question is shown."""
    if not AXE.exists():
        pytest.skip("axe is not installed; run scripts/setup --tests")
    await stage.client.create("orders")
    async with stage.gate:
        await stage.client.begin("archive")
        async with browsing(f"{stage.url}/", tmp_path / "profile", dark=dark) as page:
            await page.until(f"{ROWS}.length === 2")
            await page.evaluate(await asyncio.to_thread(AXE.read_text))
            for shown in ("list", "question"):
                if shown == "question":
                    await click(page, "#rows button")
                found: Any = await page.evaluate("axe.run().then((found) => found.violations)")
                assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
