"""The standard streams of a command, which may be closed, or lead to a disk that is full."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2

from lro_gateway.demo.server import DemoServer
from tests.contrary import ContraryBackend, answering
from tests.gateways import serving
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


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("token", "new", "--subject", "ci"),
        ("check", "--config", "{config}"),
        ("check", "--config", "{config}", "--as", "ana", "get", "operations/1"),
        ("operations", "list"),
        ("operations", "list", "--format", "json"),
        ("operations", "wait", "operations/1"),
        ("operations", "tail", "operations/1"),
    ],
    ids=" ".join,
)
async def test_a_full_disk_is_told_and_is_no_failed_operation(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """The status 1 would say that an operation has failed, or that a check has found a problem."""
    done: Any = operations_pb2.Operation(name="operations/1", done=True)
    listed: Any = operations_pb2.ListOperationsResponse(operations=[done])
    handlers = {"GetOperation": answering(done), "ListOperations": answering(listed)}
    config = tmp_path / "gateway.toml"
    full = os.open("/dev/full", os.O_WRONLY)
    async with (
        ContraryBackend.open(handlers) as backend,
        serving({"name": "odd", "target": backend.target}) as url,
    ):
        config.write_text(
            f'[store]\nurl = "none"\n[[backends]]\nname = "odd"\ntarget = "{backend.target}"\n'
        )
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, *(each.format(config=config) for each in arguments)),
            env={**os.environ, "LRO_GATEWAY_URL": url},
            stdout=full,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(full)
        _, err = await process.communicate()
    told = "lro-gateway: the output cannot be written: No space left on device"
    assert (process.returncode, err.decode().splitlines()[-1]) == (2, told)
