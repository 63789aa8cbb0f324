"""`lro-gateway demo`: the printed commands work, and the command leaves no files behind."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from mcp import Client, StdioServerParameters

pytestmark = pytest.mark.usefixtures("_imported_anew")

COMMAND: Final = str(Path(sys.executable).parent / "lro-gateway")
_TIME_LIMIT: Final = 60
_STYLE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Demo:
    """A running demonstration, and the text that it has printed so far."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader
    printed: str = ""
    directory: Path = field(default=Path(), kw_only=True)
    terminal: int = field(default=-1, kw_only=True)

    async def until(self, pattern: str) -> re.Match[str]:
        """Read the output until it matches the pattern; return the match."""
        async with asyncio.timeout(_TIME_LIMIT):
            while not (found := re.search(pattern, self.printed)):
                content = await self.output.read(4096)
                assert content, f"the demonstration ended without {pattern}: {self.printed}"
                self.printed += _STYLE.sub("", content.decode(errors="replace"))
        return found

    async def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send a signal; the demonstration must end with status 0 and leave no temporary file."""
        self.process.send_signal(number)
        async with asyncio.timeout(_TIME_LIMIT):
            assert await self.process.wait() == 0
        assert list(self.directory.iterdir()) == []


async def start(directory: Path, stdout: int, *options: str) -> asyncio.subprocess.Process:
    """Start the command, which keeps its temporary files in the directory."""
    environment = {**os.environ, "TMPDIR": str(directory), "TERM": "xterm-256color"}
    # rich believes this more than the terminal.
    environment.pop("COLUMNS", None)
    return await asyncio.create_subprocess_exec(
        *(COMMAND, "demo", "--port", "0", *options),
        env=environment,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        # With a session of its own, all processes of the command can be found and ended.
        start_new_session=True,
    )


@asynccontextmanager
async def piped(directory: Path, *options: str) -> AsyncIterator[Demo]:
    """Run the demonstration with its output in a pipe."""
    process = await start(directory, asyncio.subprocess.PIPE, *options)
    assert process.stdout is not None
    try:
        yield Demo(process, process.stdout, directory=directory)
    finally:
        await end(process)


def resize(terminal: int, columns: int) -> None:
    """Set the size of a terminal to 24 lines of so many columns."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


@asynccontextmanager
async def in_terminal(directory: Path, columns: int) -> AsyncIterator[Demo]:
    """Run the demonstration in a terminal."""
    ours, its = pty.openpty()
    resize(its, columns)
    process = await start(directory, its)
    output = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(ours, "rb")
    )
    try:
        yield Demo(process, output, directory=directory, terminal=its)
    finally:
        await end(process)
        transport.close()
        os.close(its)


def rows(printed: str) -> list[str]:
    """Return the rows of bars in what a terminal got."""
    return re.findall(r"\w+Database \w+ +[━╸╺][^\r\n]*", printed)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill the command if it still runs, and check that no process of its session is left."""
    if process.returncode is None:
        process.kill()
        await process.wait()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


async def shell(command: str) -> Any:
    """Run a command in a shell, as a person would; return the JSON that it prints."""
    process = await asyncio.create_subprocess_shell(
        f"{command} --silent --show-error --fail", stdout=asyncio.subprocess.PIPE
    )
    content, _ = await process.communicate()
    assert process.returncode == 0, command
    return json.loads(content)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Return an empty directory for the temporary files of one demonstration."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    return directory


STATES: Final = (
    r"CreateDatabase orders: 100% done \(databases/orders/operations/\w+\)",
    r"CheckDatabase archive: \d+% failed: database 'databases/archive' is damaged: .* \(.*\)",
    r"BackupDatabase orders: \d+% cancelled \(databases/orders/operations/\w+\)",
    r"CreateDatabase warehouse: \d+% running \(databases/warehouse/operations/\w+\)",
)


async def test_in_a_pipe_it_prints_each_state_as_a_line(temporary: Path) -> None:
    """One operation is done, one has failed, one is cancelled, and one runs."""
    async with piped(temporary) as demo:
        for state in STATES:
            await demo.until(rf"(?m)^{state}$")
        assert "\x1b" not in demo.printed
        await demo.stop()


async def test_the_page_is_opened_in_a_browser_on_request(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable BROWSER names the browser. Here it is a command that notes the address."""
    noted, browser = tmp_path / "noted", tmp_path / "browser"
    os.mkfifo(noted)
    browser.write_text(f'#!/bin/sh\necho "$1" > {noted}\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    async with piped(temporary, "--open") as demo, asyncio.timeout(_TIME_LIMIT):
        address = (await asyncio.to_thread(noted.read_text)).strip()
        async with httpx.AsyncClient() as http:
            page = await http.get(address, headers={"accept": "text/html"})
        assert "<title>lro-gateway" in page.text
        await demo.stop()


@pytest.mark.parametrize("columns", [80, 120])
async def test_in_a_terminal_it_draws_a_bar_for_each_operation(
    temporary: Path, columns: int
) -> None:
    """Each operation is one row, the long error is cut, and the bar of the running one grows."""
    async with in_terminal(temporary, columns) as demo:
        for state in (
            r"CreateDatabase orders +━+ 100% done",
            r"CheckDatabase archive +\S+ +\d+% failed: \w[^\r\n]*…",
            r"BackupDatabase orders +\S+ +\d+% cancelled",
            r"CreateDatabase warehouse +\S+ +[1-9]\d?% running",
        ):
            await demo.until(state)
        # Behind the last row there is room for the ^C of a terminal.
        assert max(map(len, rows(demo.printed))) <= columns - len("^C")
        await demo.stop()


async def test_a_resize_and_ctrl_c_leave_no_torn_rows(temporary: Path) -> None:
    """A terminal breaks the rows that no longer fit, so everything is drawn anew."""
    async with in_terminal(temporary, 120) as demo:
        await demo.until(r"CreateDatabase warehouse +\S+ +[1-9]\d?% running")
        before = len(demo.printed)
        resize(demo.terminal, 80)
        demo.process.send_signal(signal.SIGWINCH)
        await demo.until(r"(?s)is at http.*is at http.*CreateDatabase warehouse +\S+ +\d+% running")
        drawn = demo.printed[before:].partition("is at http")[2]
        assert max(map(len, rows(drawn))) <= 80 - len("^C")
        await demo.stop()


async def test_the_curl_lines_work_as_they_are_printed(temporary: Path) -> None:
    """The lines start an operation, list operations, read the running one and cancel it."""
    async with piped(temporary) as demo:
        await demo.until("Ctrl-C stops everything")
        starting, listing, getting, cancelling = re.findall(r"(?m)^  (curl .*)$", demo.printed)
        assert (await shell(starting))["name"].startswith("databases/mine/operations/")
        assert len((await shell(listing))["operations"]) == 6
        assert (await shell(getting))["done"] is False
        assert await shell(cancelling) == {}
        await demo.until(r"CreateDatabase warehouse: \d+% cancelled")
        await demo.stop()


async def test_the_mcp_url_and_the_configuration_for_stdio_work(temporary: Path) -> None:
    """An MCP client reads the same operation over HTTP and through the printed command."""
    async with piped(temporary) as demo:
        url = (await demo.until(r"With an MCP client: +(http://\S+/mcp)\n"))[1]
        configuration = json.loads((await demo.until(r"(?m)^(\{.*\})$"))[1])
        name = (await demo.until(r"running \((\S+)\)"))[1]
        (server,) = configuration["mcpServers"].values()
        assert shlex.split(server["command"]) == [COMMAND]
        for client in (Client(url), Client(StdioServerParameters(**server))):
            async with asyncio.timeout(_TIME_LIMIT), client:
                result = await client.call_tool("get_operation", {"name": name})
                assert result.structured_content is not None
                assert result.structured_content["name"] == name
                assert result.structured_content["metadata"]["totalRows"]
        await demo.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_command_silently(temporary: Path, number: signal.Signals) -> None:
    """As soon as it is up, it ends with status 0 and leaves no file, process or line on stderr."""
    async with piped(temporary) as demo:
        await demo.until("lro-gateway is at http://")
        await demo.stop(number)
        assert demo.process.stderr is not None
        assert await demo.process.stderr.read() == b""


async def test_two_demonstrations_run_side_by_side(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """They use four different addresses."""
    directories = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    async with piped(directories[0]) as one, piped(directories[1]) as two:
        addresses = [await demo.until(r"is at (\S+), .* at (\S+)\.\n") for demo in (one, two)]
        assert len({address for found in addresses for address in found.groups()}) == 4
        await one.stop()
        await two.stop()


async def test_the_comments_of_the_service_are_in_the_tools_and_in_the_document(
    tmp_path: Path,
) -> None:
    """Python's reflection tells no comments, so the demonstration ships them."""
    async with piped(tmp_path) as demo:
        url = (await demo.until(r"lro-gateway is at (http://\S+),"))[1]
        async with Client(f"{url}/mcp") as client, httpx.AsyncClient(base_url=url) as browser:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            document = (await browser.get("/openapi.json")).json()
        await demo.stop()
    export = tools["export_query"]
    assert (export.description or "").startswith('The service says: "Writes query rows to a file."')
    query = export.input_schema["properties"]["query"]["description"]
    assert query == '"SQL that reads."'
    assert "Writes query rows to a file." in json.dumps(document)
