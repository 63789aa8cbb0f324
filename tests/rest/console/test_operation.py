"""What a person reads of one operation on the page at `/`, in a real browser."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import pytest

from lro_gateway.demo.databases import damage
from tests.commands.stage import Stage, staged
from tests.faces.chromium import browsing
from tests.rest.console.test_routes import AXE, ROWS, click, row

pytestmark = pytest.mark.anyio

FACTS: Final = "document.getElementById('facts')"
READ: Final = f"{FACTS}.textContent.includes('State')"
HOSTILE: Final = "<img src=x onerror=alert(1)>\u202e"
OUTLINE: Final = """(() => {
  const outline = (node) => {
    const pairs = [...node.children].filter((each) => each.tagName === "DT");
    return Object.fromEntries(pairs.map((term) => [term.textContent, value(term.nextSibling)]));
  };
  const value = (node) => {
    const inner = node.querySelector("dl, ol");
    if (!inner) return node.textContent;
    return inner.tagName === "DL" ? outline(inner) : [...inner.children].map(value);
  };
  const parts = [...document.getElementById("facts").children];
  return parts.map((each) => each.tagName === "DL" ? outline(each)
    : each.tagName === "H3" ? each.textContent : value(each));
})()"""
"""The JavaScript expression of the headings, names and values of the shown operation."""


async def test_a_click_tells_why_an_operation_has_failed(tmp_path: Path) -> None:
    """State, error, details and metadata are in words. A link leads to the JSON."""
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url) as http:
        await stage.client.create("orders")
        damage(tmp_path / "orders.sqlite3")
        await stage.client.check("orders")
        failed = (await http.get("/v1/operations?state=failed")).json()["operations"][0]
        name = failed["name"]
        async with browsing(f"{stage.url}/", tmp_path / "profile") as page:
            await page.until(f"{ROWS}.length === 2")
            await page.evaluate(
                f"[...{ROWS}].find((row) => row.querySelector('.failed'))"
                ".querySelector('a').click()"
            )
            await page.until(READ)
            assert await page.evaluate("document.getElementById('of').textContent") == name
            first, error_title, error, title, metadata = await page.evaluate(OUTLINE)
            address = f"v1/-?{urlencode({'name': name, 'summary': 'true'})}"
            href = await page.evaluate("document.getElementById('raw').getAttribute('href')")
            assert page.problems == []
        assert (await http.get(f"/{href}")).json()["name"] == name
    assert href == address
    assert (first["State"], first["Progress"], first["Method"], first["Backend"]) == (
        *("failed", "75%", "CheckDatabase", "demo"),
    )
    assert " UTC (" in first["Started"]
    problems = failed["error"]["details"][1]["problems"]
    assert (error_title, error["Code"], error["Message"]) == (
        *("Error", "DATA_LOSS (15)", failed["error"]["message"]),
    )
    assert error["Details"][1] == {"name": "databases/orders", "problems": problems}
    assert (title, metadata["phase"], metadata["progressPercent"]) == (
        *("Metadata", "CHECKING_FILE", "75"),
    )


async def test_the_shown_operation_changes_until_it_is_deleted(
    stage: Stage, tmp_path: Path
) -> None:
    """Nobody has to close it and open it again."""
    async with browsing(f"{stage.url}/", tmp_path / "profile") as page:
        async with stage.gate:
            begun = await stage.client.begin("orders")
            await page.until(f"({row(begun.name)} ?? '').includes('running')")
            await click(page, "#rows a")
            await page.until(f"{FACTS}.textContent.startsWith('Staterunning')")
        await page.until(f"{FACTS}.textContent.startsWith('Statesucceeded')")
        sections = await page.evaluate(OUTLINE)
        assert sections[1:4:2] == ["Result", "Metadata"]
        assert sections[2]["name"] == "databases/orders"
        async with httpx.AsyncClient(base_url=stage.url) as http:
            assert (await http.delete(f"/v1/{begun.name}")).status_code == 200
        await page.until(f"{FACTS}.textContent.startsWith('The operation cannot be read: ')")


async def test_values_of_a_service_stay_texts_and_long_lists_are_cut(
    stage: Stage, tmp_path: Path
) -> None:
    """What shows nothing is an escape, in names of fields too. Every kind of value is shown."""
    metadata = {
        "@type": f"type.googleapis.com/{HOSTILE}",
        HOSTILE: HOSTILE,
        "many": [*range(101)],
        "kinds": [None, True, 0, "", {}, [], "a\nb", "9999-01-01T00:00:00.5Z"],
    }
    summary = {"state": "running", "statusText": HOSTILE, "kind": HOSTILE, "backend": HOSTILE}
    operation = {"name": HOSTILE, "summary": summary, "metadata": metadata}
    operation["error"] = {"code": 99, "message": HOSTILE, "details": [metadata]}
    async with browsing(f"{stage.url}/", tmp_path / "profile") as page:
        await page.until("document.getElementById('connection')?.textContent.includes('live')")
        await page.evaluate(f"{FACTS}.replaceChildren(...told({json.dumps(operation)}))")
        seen = HOSTILE.replace("\u202e", r"\u202e")
        first, _, error, _, shown = await page.evaluate(OUTLINE)
        assert first == {"State": "running", "Status": seen, "Method": seen, "Backend": seen}
        assert (error["Code"], error["Message"]) == ("unknown (99)", seen)
        assert error["Details"] == [shown]
        far = shown["kinds"].pop()
        assert far.startswith("9999-01-01 00:00:00 UTC (in ")
        assert shown == {
            seen: seen,
            "many": [str(each) for each in range(100)],
            "kinds": ["null", "true", "0", "(empty)", "(empty)", "(empty)", "a\nb"],
        }
        assert await page.evaluate(f"{FACTS}.textContent.split('and 1 more').length") == 3
        assert await page.evaluate(f"{FACTS}.textContent.includes('\u202e')") is False
        assert await page.evaluate("document.querySelectorAll('img').length") == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_a_shown_operation_is_accessible_and_fits(
    stage: Stage, tmp_path: Path, *, dark: bool
) -> None:
    """The program axe finds no violation. In a narrow window nothing is cut."""
    if not AXE.exists():
        pytest.skip("axe is not installed; run scripts/setup --tests")
    await stage.client.create("orders")
    async with browsing(f"{stage.url}/", tmp_path / "profile", dark=dark) as page:
        await page.until(f"{ROWS}.length === 1")
        await page.evaluate(await asyncio.to_thread(AXE.read_text))
        await click(page, "#rows a")
        await page.until(READ)
        for width in (1200, 320):
            await page.resize(width)
            found: Any = await page.evaluate("axe.run().then((found) => found.violations)")
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
            dialog = "document.getElementById('operation')"
            assert await page.evaluate(f"{dialog}.scrollWidth <= {dialog}.clientWidth")
