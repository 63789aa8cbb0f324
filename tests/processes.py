"""The real command `lro-gateway serve` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).parent / "lro-gateway")
_ADDRESS = re.compile(r"REST (https?://\S+)/v1")
_TIME_LIMIT = 60
"""Seconds that the command has to start, and to log a line."""


@dataclass
class Served:
    """A running server: the URL that it printed, and the lines that it has logged."""

    process: asyncio.subprocess.Process
    url: str = ""
    lines: list[str] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def log(self) -> str:
        """All lines as one text."""
        return "".join(self.lines)

    async def logged(self, text: str) -> str:
        """Wait until a line has this text, and return the line."""
        async with asyncio.timeout(_TIME_LIMIT):
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                self._more.clear()
                await self._more.wait()

    async def read(self) -> None:
        """Read the log until the process ends."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.lines.append(line.decode())
            self._more.set()


@asynccontextmanager
async def served(
    directory: Path,
    *backends: Mapping[str, Any],
    options: tuple[str, ...] = (),
    tables: Mapping[str, Mapping[str, Any]] | None = None,
) -> AsyncIterator[Served]:
    """Serve these backends, entries of the configuration, until the context ends.

    `tables` are the other tables of the configuration, such as `server`. The default of `freshness`
    is 0 here, so that each read calls the backend.
    """
    config = directory / "gateway.toml"
    settings = [(f"[{name}]", table) for name, table in (tables or {}).items()]
    settings += [("[[backends]]", {"freshness": "0s", **each}) for each in backends]
    text = "".join(
        f"{name}\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())
        for name, table in settings
    )
    await asyncio.to_thread(config.write_text, text)
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", "--config", str(config), "--port", "0", *options),
        stderr=asyncio.subprocess.PIPE,
    )
    server = Served(process)
    reading = asyncio.create_task(server.read())
    try:
        found = _ADDRESS.search(await server.logged("lro-gateway: REST "))
        assert found is not None
        server.url = found[1]
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)
