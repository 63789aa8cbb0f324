"""The pictures of README.md show what the commands print today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.drawing import PICTURES, play, terminal
from tests.commands.stage import staged

pytestmark = pytest.mark.anyio


def shown(svg: str) -> list[str]:
    """Return the texts of a picture, with the same ids and ages in all pictures."""
    texts = re.findall(r">([^<>]+)</text>", svg)
    return [re.sub(r"[0-9a-f]{8}|\d+(?=&#160;s)", "x", text) for text in texts]


async def test_the_picture_of_the_terminal_is_what_the_command_prints(tmp_path: Path) -> None:
    """If it is not, run scripts/pictures."""
    async with staged(tmp_path) as stage:
        await play(stage, tmp_path)
        try:
            drawn = await terminal(stage)
        finally:
            stage.gate.release()
    assert shown(drawn) == shown((PICTURES / "terminal.svg").read_text())
    assert "url(http" not in drawn
