"""The calls that wait for an approval on the page at `/`, in a real browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from lro_gateway.access.identity.static_tokens import new_token
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http
from tests import factory
from tests.contrary import answering
from tests.faces.chromium import Page, browsing
from tests.gateways import serving
from tests.rest.console.test_routes import AXE, OVERFLOWS, WIDTHS, click, lines_of
from tests.rest.console.test_token import ASKED, LISTED, enter
from tests.service.approved import BUILD, backend_of

pytestmark = pytest.mark.anyio

CALLS: Final = "document.querySelectorAll('#calls tr')"
TOLD: Final = "document.getElementById('asks').textContent"
NOTICE: Final = "document.getElementById('notice').textContent"
HOSTILE: Final = "<img src=x onerror=alert(1)>\u202e"


@dataclass
class Desk:
    """A gateway with static tokens of an agent, of Ana, who approves, and of Eve, who may not."""

    url: str
    tokens: dict[str, str]
    backend: Any

    async def call(self, who: str, method: str, path: str, body: Any = None) -> Any:
        """Call the gateway, and return its answer."""
        headers = {"authorization": f"Bearer {self.tokens[who]}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers) as http:
            answer = await http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def ask(self, title: str = "Press", who: str = "agent") -> str:
        """Ask for a machine, and return the name of the call that waits."""
        order = {**factory.ORDER, "machine": {"title": title}}
        name: str = (await self.call(who, "POST", BUILD, order))["name"]
        return name

    @asynccontextmanager
    async def page(self, who: str, profile: Path, **options: Any) -> AsyncIterator[Page]:
        """Open the page for somebody who has entered the token."""
        async with browsing(f"{self.url}/", profile, **options) as page:
            await page.until(ASKED)
            await enter(page, self.tokens[who])
            yield page


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Serve a backend whose BuildMachine needs an approval."""
    tokens, lines = {}, []
    for name in ("agent", "ana", "eve"):
        tokens[name], entry = new_token(name, groups=("oncall",) if name == "ana" else ())
        lines.append(entry.line)
    (tmp_path / "tokens").write_text("\n".join(lines))
    async with backend_of(ListOperations=answering(LISTED)) as backend:
        settings = {
            "server": {"port": 0, "sync_grace": "0s"},
            "store": {"url": f"sqlite:///{tmp_path}/store.sqlite3"},
            "auth": {"tokens": str(tmp_path / "tokens")},
            "policy": [
                {"allow": ["*"], "groups": ["oncall"]},
                {"allow": ["get", "list", "wait", "start", "cancel"]},
            ],
            "backends": [
                {"name": "east", "target": backend.target, "approval": ["*/BuildMachine"]}
            ],
        }
        config = GatewayConfig.model_validate(settings)
        async with Gateway.open(config) as gateway, serve_http(gateway) as server:
            yield Desk(server.url, tokens, backend)


async def decide(page: Page, verb: str, reason: str = "") -> None:
    """Press the button of a decision in the first row, and agree in the dialog."""
    await click(page, f"#calls button[aria-label^='{verb} ']")
    await page.evaluate(f"document.getElementById('because').value = {json.dumps(reason)}")
    await click(page, "#decide")


async def test_a_call_appears_and_is_approved_after_a_question(desk: Desk, tmp_path: Path) -> None:
    """Without the answer nothing is decided. The call then starts, and leaves the page."""
    async with desk.page("ana", tmp_path / "profile") as page:
        await page.until("document.getElementById('connection').textContent.includes('live')")
        assert await page.evaluate("document.getElementById('approvals').hidden") is True
        name = await desk.ask(HOSTILE)
        await page.until(f"{CALLS}.length === 1")
        assert await page.evaluate(TOLD) == "1 call waits for an approval"
        row = await page.evaluate(f"[...{CALLS}[0].children].map((cell) => cell.textContent)")
        request = {**factory.ORDER, "machine": {"title": HOSTILE}}
        assert r"\u202e" in row[1]
        assert (row[0], json.loads(row[1])["machine"]) == (
            "BuildMachineon east",
            request["machine"],
        )
        assert (row[2], row[4], row[5]) == ("agent", "in 23 h", "Approve Refuse")
        assert await page.evaluate("document.querySelectorAll('main img').length") == 0
        await click(page, "#calls button")
        doubt = await page.evaluate("document.getElementById('doubt').textContent")
        assert doubt == ("Approve factory.v1.Factory/BuildMachine on east, asked for by agent?")
        shown = await page.evaluate("document.getElementById('wanted').textContent")
        assert r"\u202e" in shown
        effect = await page.evaluate("document.getElementById('effect').textContent")
        assert effect == "If you approve, the gateway makes this call at once, on behalf of agent."
        wanted = json.loads(shown)
        assert [*wanted] == [*json.loads(row[1])] == sorted(wanted)
        assert wanted["machine"] == request["machine"]
        await click(page, "#decision button[value='']")
        assert not await page.evaluate("document.getElementById('decision').open")
        assert desk.backend.count("BuildMachine") == 0
        await decide(page, "Approve", "we need it")
        told = await page.until(NOTICE)
        assert told == (
            f'{name}: It was approved by static-tokens#ana: "we need it", and has started jobs/1.'
        )
        await page.until(f"{CALLS}.length === 0")
        assert await page.evaluate("document.getElementById('approvals').hidden") is True
        assert desk.backend.count("BuildMachine") == 1
        assert [each for each in page.problems if "401" not in each] == []


async def test_a_call_is_refused_and_others_stay_in_their_order(desk: Desk, tmp_path: Path) -> None:
    """The newest is first. The caller that asked learns the reason."""
    names = [await desk.ask(title) for title in ("one", "two")]
    async with desk.page("ana", tmp_path / "profile") as page:
        await page.until(f"{CALLS}.length === 2")
        await page.evaluate(f"{CALLS}[1].querySelector('button').focus()")
        names.append(await desk.ask("three"))
        await page.until(f"{CALLS}.length === 3")
        titles = f"[...{CALLS}].map((row) => JSON.parse(row.children[1].textContent).machine.title)"
        assert await page.evaluate(titles) == ["three", "two", "one"]
        focused = f"{CALLS}[2].contains(document.activeElement)"
        assert await page.evaluate(focused) is True
        await decide(page, "Refuse", "not today")
        await page.until(f"{CALLS}.length === 2")
        assert await page.evaluate(titles) == ["two", "one"]
        ended = await desk.call("agent", "GET", f"/v1/{names[2]}")
        assert ended["error"]["message"].endswith('"not today". It was not called.')
        # Another person decides meanwhile, while the question is shown.
        await click(page, "#calls button")
        await desk.call("ana", "POST", f"/v1/{names[1]}:refuse")
        await click(page, "#decide")
        await page.until(f"{NOTICE}.includes('is not decided: ')")
        assert desk.backend.count("BuildMachine") == 0


async def test_whoever_may_not_approve_sees_only_its_own_and_no_buttons(
    desk: Desk, tmp_path: Path
) -> None:
    """The list says who may decide. Nobody approves what it has asked for itself."""
    await desk.ask("of the agent")
    own = await desk.ask("of Ana", "ana")
    listed = (await desk.call("ana", "GET", "/v1/approvals"))["approvals"]
    assert [each["canDecide"] for each in listed] == [False, True]
    async with desk.page("agent", tmp_path / "agent") as page:
        await page.until(f"{CALLS}.length === 1")
        assert await page.evaluate("document.querySelectorAll('#calls button').length") == 0
        await page.evaluate("document.querySelector('#calls a').click()")
        await page.until("document.getElementById('facts').textContent.includes('PENDING')")
        await click(page, "#raw")
        shown = json.loads(await page.until("document.getElementById('shown').textContent"))
        assert shown["metadata"]["state"] == "PENDING"
    async with desk.page("eve", tmp_path / "eve") as page:
        await page.until("document.getElementById('connection').textContent.includes('live')")
        await page.evaluate("readCalls()")
        assert await page.evaluate("document.getElementById('approvals').hidden") is True
    async with desk.page("ana", tmp_path / "ana") as page:
        await page.until(f"{CALLS}.length === 2")
        buttons = f"[...{CALLS}].map((row) => row.querySelectorAll('button').length)"
        assert await page.evaluate(buttons) == [0, 2]
        await desk.call("ana", "POST", f"/v1/{own}:cancel")
        await page.until(f"{CALLS}.length === 1")


async def test_the_page_does_not_ask_again_with_credentials_that_were_refused(
    desk: Desk, tmp_path: Path
) -> None:
    """A page that nobody looks after would otherwise send bad credentials for ever."""
    async with browsing(f"{desk.url}/", tmp_path / "profile") as page:
        await page.until(ASKED)
        await page.until("!mayAsk()")
        await enter(page, desk.tokens["ana"])
        await desk.ask()
        await page.until(f"{CALLS}.length === 1")
        assert await page.evaluate("mayAsk()") is True


async def test_calls_fit_into_windows_of_all_widths(desk: Desk, tmp_path: Path) -> None:
    """The buttons can be seen, and no word of a request is broken."""
    await desk.ask("SELECT title FROM databases/orders WHERE title = 'Press'")
    async with desk.page("ana", tmp_path / "profile") as page:
        await page.until(f"{CALLS}.length === 1")
        found = {}
        for width in WIDTHS:
            await page.resize(width)
            cut = await page.evaluate(OVERFLOWS)
            words = ("databases/orders", '"title":', '"lines/1"')
            lines = [await page.evaluate(lines_of("#calls code", each)) for each in words]
            found[width] = (cut, lines)
        assert found == dict.fromkeys(WIDTHS, ([], [1, 1, 1]))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_the_calls_are_accessible(desk: Desk, tmp_path: Path, *, dark: bool) -> None:
    """The program axe finds no violation, also while a question is shown."""
    if not AXE.exists():
        pytest.skip("axe is not installed; run scripts/setup --tests")
    await desk.ask()
    async with desk.page("ana", tmp_path / "profile", dark=dark) as page:
        await page.until(f"{CALLS}.length === 1")
        await page.evaluate(await asyncio.to_thread(AXE.read_text))
        for verb in ("", "Approve", "Refuse"):
            if verb:
                await page.evaluate("document.getElementById('decision').close()")
                await click(page, f"#calls button[aria-label^='{verb} ']")
            found: Any = await page.evaluate("axe.run().then((found) => found.violations)")
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


async def test_the_page_and_the_addresses_have_calls_only_where_there_are_any(desk: Desk) -> None:
    """A gateway without approvals shows and asks for none."""
    async with (
        httpx.AsyncClient() as http,
        serving({"name": "east", "target": desk.backend.target}) as other,
    ):
        for url, has_them in ((desk.url, True), (other, False)):
            page = await http.get(f"{url}/", headers={"accept": "text/html"})
            assert ('src="approvals.js"' in page.text, "{" in page.text) == (has_them, False)
            links = (await http.get(f"{url}/")).json()
            assert links.get("approvals") == ("v1/approvals" if has_them else None)
