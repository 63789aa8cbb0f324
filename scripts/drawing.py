"""Draws the pictures of README.md: what a person sees in a terminal, and the page at `/`."""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from lro_gateway.demo.databases import damage
from tests.commands.stage import Stage, staged
from tests.faces.chromium import browsing

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures"
_COLUMNS: Final = 80
_FONT: Final = re.compile(r"\s*@font-face \{[^}]*\}")
_ROWS: Final = "document.querySelectorAll('#rows tr').length"


async def play(stage: Stage, directory: Path) -> None:
    """Make operations of every state. The last one stops in the middle until the stage ends."""
    client = stage.client
    await client.create("orders")
    await client.create("archive")
    await asyncio.to_thread(damage, directory / "archive.sqlite3")
    await client.check("archive")
    stage.gate.hold()
    cancelled = await client.begin("sales")
    await stage.gate.arrival()
    await client.cancel(cancelled)
    await client.end(cancelled)
    await client.begin("warehouse", 10_000)
    await stage.gate.arrival()
    stage.gate.admit(9)
    await stage.gate.arrival()


async def terminal(stage: Stage) -> str:
    """Return an SVG of a terminal with the list of operations."""
    listed = await stage.type("operations", "list", columns=_COLUMNS)
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ lro-gateway operations list", style="bold"))
    console.print(Text.from_ansi(listed.stdout.rstrip()))
    svg = console.export_svg(title="lro-gateway", unique_id="terminal")
    # A picture of a page loads no fonts from elsewhere.
    return _FONT.sub("", svg)


async def main(directory: Path) -> None:
    """Draw both pictures into a directory."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lro-gateway-pictures-") as name:
        async with staged(Path(name)) as stage:
            await play(stage, Path(name))
            try:
                drawn = await terminal(stage)
                await asyncio.to_thread((directory / "terminal.svg").write_text, drawn)
                profile = Path(name) / "profile"
                async with browsing(f"{stage.url}/", profile, width=1200, height=620) as page:
                    await page.until(f"{_ROWS} === 5")
                    await page.screenshot(directory / "page.webp")
            finally:
                stage.gate.release()


if __name__ == "__main__":
    asyncio.run(main(PICTURES))
