"""Drives Chromium through the pipe of its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

BROWSERS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_TIME_LIMIT: Final = 60
_QUALITY: Final = 80
"""The quality of a picture that loses details, in percent."""
_LONGEST_MESSAGE: Final = 64 * 2**20
_NAVIGATED: Final = "Inspected target navigated or closed"


class NavigatedError(Exception):
    """The page was left while the browser evaluated an expression in it."""


def chromium() -> str:
    """Return the command of Chromium. Without it the test is skipped, or fails in CI."""
    command = next(filter(None, map(shutil.which, BROWSERS)), None)
    if command is None:
        problem = "Chromium is not installed; run scripts/setup --tests as root on Debian"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)
    return command


@dataclass
class Page:
    """A page in a browser."""

    output: asyncio.StreamReader
    input: int
    session: str = ""
    problems: list[str] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    async def send(self, method: str, **params: Any) -> Any:
        """Send a command of the DevTools protocol, and return its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.input, json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(_TIME_LIMIT):
            while True:
                answer = json.loads((await self.output.readuntil(b"\0"))[:-1])
                if answer.get("id") == number:
                    if answer.get("error", {}).get("message") == _NAVIGATED:
                        raise NavigatedError
                    assert "error" not in answer, answer["error"]
                    return answer["result"]
                self._note(answer)

    def _note(self, event: Any) -> None:
        """Keep what the browser complains about, such as a script that its policy forbids."""
        if event.get("method") == "Log.entryAdded":
            self.problems.append(event["params"]["entry"]["text"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(event["params"]["exceptionDetails"]["text"])

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page, after its promise."""
        result = await self.send(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Return the value of an expression once it is true. The page looks at each change.

        A click may have opened another page, which then looks instead.
        """
        looking = (
            "new Promise((resolve) => { const look = () => { const found = ("
            + expression
            + "); if (found) resolve(found); else requestAnimationFrame(look); }; look(); })"
        )
        async with asyncio.timeout(_TIME_LIMIT):
            while True:
                with suppress(NavigatedError):
                    return await self.evaluate(looking)

    async def resize(self, width: int, height: int = 700) -> None:
        """Give the window of the page another size, in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)

    async def screenshot(self, path: Path) -> None:
        """Write a picture of the page, in the format that the suffix of the path names."""
        kind = path.suffix.removeprefix(".")
        quality = {} if kind == "png" else {"quality": _QUALITY}
        shot = await self.send("Page.captureScreenshot", format=kind, **quality)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))


@asynccontextmanager
async def browsing(
    url: str, profile: Path, *, width: int = 1200, height: int = 700, dark: bool = False
) -> AsyncIterator[Page]:
    """Open a page in a browser until the context ends."""
    command = chromium()
    to_browser, ours = os.pipe()
    theirs, from_browser = os.pipe()[::-1]
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{theirs}', "bash"),
        *(command, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *(f"--user-data-dir={profile}", "--remote-debugging-pipe"),
        pass_fds=(to_browser, theirs),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_browser)
    os.close(theirs)
    output = asyncio.StreamReader(_LONGEST_MESSAGE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(from_browser, "rb")
    )
    try:
        page = Page(output, ours)
        target = await page.send("Target.createTarget", url="about:blank")
        attached = await page.send("Target.attachToTarget", flatten=True, **target)
        page.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await page.send(f"{domain}.enable")
        await page.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await page.send("Emulation.setEmulatedMedia", features=[scheme])
        await page.send("Page.navigate", url=url)
        yield page
    finally:
        transport.close()
        os.close(ours)
        # A browser has several processes, which are one group.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
