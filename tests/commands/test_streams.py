"""A command works although its standard streams are closed, as some supervisors start it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx

from lro_gateway.demo.server import DemoServer
from tests.ports import unused_port
from tests.processes import COMMAND

_TIME_LIMIT = 60


def _standard(pid: int) -> list[Path]:
    """Return what the standard streams of a process are."""
    return [Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)]


async def test_serve_without_standard_streams_uses_their_numbers_for_nothing_else(
    tmp_path: Path,
) -> None:
    """Otherwise lines of the log would go into a socket, and the end would be an abort."""
    port = unused_port()
    async with DemoServer.open(tmp_path / "demo") as demo:
        file = tmp_path / "gateway.toml"
        file.write_text(
            f'[server]\nport = {port}\n[store]\nurl = "sqlite:///{tmp_path}/store.sqlite3"\n'
            f'[[backends]]\nname = "demo"\ntarget = "{demo.target}"\n'
        )
        closing = f"exec {COMMAND} serve --config {file} --access-log <&- >&- 2>&-"
        process = await asyncio.create_subprocess_exec("sh", "-c", closing)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                async with asyncio.timeout(_TIME_LIMIT):
                    while True:
                        assert process.returncode is None
                        with suppress(httpx.TransportError):
                            await client.get("/livez")
                            break
                        await asyncio.sleep(0.1)
                made = await client.post("/v1/databases", json={"databaseId": "a"})
                assert made.status_code == 200
            assert _standard(process.pid) == [Path(os.devnull)] * 3
            process.terminate()
            async with asyncio.timeout(_TIME_LIMIT):
                assert await process.wait() == 0
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def test_a_locale_without_a_character_gets_an_escape(tmp_path: Path) -> None:
    """A name that the encoding of a terminal lacks must not end a command with a traceback."""
    (tmp_path / "gateway.toml").write_text(
        '[[policy]]\nname = "\u00dcberall \u2713"\nallow = ["*"]\n'
        '[[backends]]\nname = "east"\ntarget = "127.0.0.1:1"\ndescriptors = []\n'
    )
    words = ("check", "--config", "gateway.toml", "--as", "ci", "get", "jobs/1")
    for encoding, name in (("latin-1", "\u00dcberall \\u2713"), ("utf-8", "\u00dcberall \u2713")):
        ended = subprocess.run(
            (COMMAND, *words),
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
            timeout=_TIME_LIMIT,
        )
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert f"({name})" in ended.stdout.decode(encoding)
