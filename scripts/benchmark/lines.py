"""How the programs of a run talk: one JSON object a line, on stdin and stdout.

A program ends when its stdin closes, so none outlives the run that started it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Answerer = Callable[[Message], Awaitable[Message]]


def say(message: Message) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def answer_lines(answer: Answerer) -> None:
    """Answer each line with a line until stdin closes; a failure is `{"error": "why"}`."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async for line in reader:
        try:
            say(await answer(json.loads(line)))
        except Exception as error:  # noqa: BLE001 - who asked is to know, whatever it is
            say({"error": f"{type(error).__name__}: {error}"})


async def until_closed() -> None:
    """Return when stdin closes."""

    async def echo(message: Message) -> Message:
        return message

    await answer_lines(echo)
