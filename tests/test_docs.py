"""Every example in README.md and docs/ is run, against real backends and a real gateway.

The fenced blocks of a page are worked through in order, in a directory of the page's own:

- of a `console` block each `$ command` is run by bash, and what follows it is its output;
- a block that names a file, such as `toml gateway.toml`, is written there for the commands to use;
- TOML is loaded as a configuration, JSON is parsed, Python has to be run by a later command;
- a `text` block is a picture.

In an output `...` stands for any text and a time for any time. An address or an operation's id
stands for a real one, which the stage or the first output that shows it decides. A command that
serves is left running, its lines may come in any order, and `^C` or the end of the page stops it.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any, Final

import grpc.aio
import pytest
from mcp import Client, StdioServerParameters
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from lro_gateway.commands import cli
from lro_gateway.config import loading, models
from lro_gateway.demo.databases import damage
from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from lro_gateway.errors import Code
from lro_gateway.mcp.tools.verb_tools import TOOLS
from lro_gateway.rest.openapi.document import openapi_document
from tests.demo.client import Client as DemoClient

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
_BLOCK: Final = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN: Final = r"127\.0\.0\.1:(?:8080|5005[12])|operations/[0-9a-f]{4}\b"
_TIME: Final = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
_SPECIAL: Final = re.compile(rf"(\.\.\.|{_SHOWN}|{_TIME})")
_SERVING: Final = ("lro-gateway serve", "lro-gateway demo", "scripts/demo")
_PATIENCE: Final = 60


@dataclass
class Page:
    """A page's directory, what stands for what, its files, and the servers that it left running."""

    directory: Path
    real: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    servers: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def work_through(self, text: str) -> None:
        """Do what each block says."""
        unread = set()
        for language, name, content in _BLOCK.findall(text):
            if name:
                self.files[name] = content
                unread |= {name} if language == "python" else set()
            if language == "console":
                for command, output in _commands(content):
                    unread -= set(command.split())
                    await (self._stop() if command == "^C" else self._run(command, output))
            elif language == "toml":
                await self._load(content)
            elif language == "json":
                await self._check_clients(json.loads(self.actual(content)))
            else:
                assert language in {"text", "proto", "python", "ini"}, (
                    f"what is a {language} block?"
                )
        assert unread == set(), "Python that no command runs"

    def actual(self, text: str) -> str:
        """Return a text with what is real in place of what the page shows."""
        return re.sub(_SHOWN, lambda shown: self.real.get(shown[0], shown[0]), text)

    async def _run(self, command: str, output: str) -> None:
        for name, content in self.files.items():
            (self.directory / name).write_text(self.actual(content))
        serves = command.startswith(_SERVING) and (not output or "http://" in output)
        if serves:
            command = self._served(command, output)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"exec {command}" if serves else self.actual(command)),
            cwd=self.directory,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        if serves:
            self.servers.append(process)
            await self._await_lines(process, output.splitlines() or ["..."])
            return
        async with asyncio.timeout(_PATIENCE):
            stdout, _ = await process.communicate()
        said = stdout.decode().replace("\r\n", "\n")
        assert self._matches(output, said), f"$ {command}\nsays\n{said}\nand the page\n{output}"

    def _served(self, command: str, output: str) -> str:
        """Return a command that serves at a port of its own, whatever ports are taken."""
        for address in ("127.0.0.1:8080", "127.0.0.1:50051"):
            if address in output and address not in command:
                # Learnt from what it prints.
                self.real.pop(address, None)
        return self.actual(command.replace("scripts/demo", "lro-gateway demo")) + " --port 0"

    def _environment(self) -> dict[str, str]:
        (self.directory / ".curlrc").write_text("silent\nshow-error\n")  # as in a terminal
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        home = str(self.directory)
        return {**os.environ, "PATH": path, "HOME": home, "CURL_HOME": home, "TMPDIR": home}

    async def _await_lines(self, process: asyncio.subprocess.Process, expected: list[str]) -> None:
        assert process.stdout is not None
        said = ""
        try:
            async with asyncio.timeout(_PATIENCE):
                while expected:
                    line = (await process.stdout.readline()).decode()
                    assert line, f"it ended without {expected}"
                    said += line
                    expected = [other for other in expected if not self._matches(other, line)]
        except TimeoutError:
            pytest.fail(f"it says\n{said}\nand not {expected}")

    def _matches(self, expected: str, said: str) -> bool:
        """Compare; what the page shows for the first time stands for what is said there."""
        groups: dict[str, str] = {}
        pattern = ""
        for index, part in enumerate(_SPECIAL.split(expected.strip())):
            if not index % 2:
                pattern += re.escape(part)
            elif part == "..." or re.fullmatch(_TIME, part):
                pattern += ".*?" if part == "..." else _TIME
            elif part in self.real:
                pattern += re.escape(self.real[part])
            elif part in groups:
                pattern += f"(?P={groups[part]})"
            else:
                groups[part] = f"shown{index}"
                general = r"operations/\w+" if part.startswith("operations") else r"127.0.0.1:\d+"
                pattern += f"(?P<{groups[part]}>{general})"
        found = re.fullmatch(pattern, said.strip(), re.DOTALL)
        if found:
            self.real.update({shown: found[group] for shown, group in groups.items()})
        return found is not None

    async def _load(self, content: str) -> None:
        for name in ("ca.pem", "client.pem", "client.key"):
            (self.directory / name).touch()
        file = self.directory / "checked.toml"
        file.write_text(content)
        loading.load(file)

    async def _check_clients(self, content: Any) -> None:
        """Start what the configuration of an MCP client starts."""
        for server in content.get("mcpServers", {}).values():
            command = str(Path(sys.executable).parent / server["command"])
            parameters = StdioServerParameters(command=command, args=server["args"])
            async with asyncio.timeout(_PATIENCE), Client(parameters) as client:
                listed = {tool.name for tool in (await client.list_tools()).tools}
                assert {tool.name for tool in TOOLS} < listed, "the backend's methods are missing"

    async def _stop(self) -> None:
        server = self.servers.pop()
        if server.returncode is None:
            server.terminate()
        async with asyncio.timeout(_PATIENCE):
            assert await server.wait() == 0

    async def close(self) -> None:
        """Stop what still runs."""
        while self.servers:
            await self._stop()


def _commands(content: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with its output; `^C` is one too."""
    for part in re.split(r"^(?=\$ |\^C$)", content, flags=re.MULTILINE)[1:]:
        joined = re.sub(r"\\\n> ?", "", part)
        command, _, output = joined.partition("\n")
        yield command.removeprefix("$ "), output


@asynccontextmanager
async def staged(directory: Path) -> AsyncIterator[dict[str, str]]:
    """Serve two demo backends with operations in every state; yields what stands for what.

    The first creates a database and is held at 42%; it has also made one, found one damaged and
    been cancelled. The second has made one.
    """
    gate = Gate()
    async with (
        DemoServer.open(directory / "east", pace=gate) as east,
        DemoServer.open(directory / "west") as west,
        grpc.aio.insecure_channel(east.target) as east_channel,
        grpc.aio.insecure_channel(west.target) as west_channel,
    ):
        client, other = DemoClient(east_channel), DemoClient(west_channel)
        done = await client.create("archive")
        damage(directory / "east" / "archive.sqlite3")
        failed = await client.check("archive")
        gate.hold()
        backup = pb.BackupDatabaseRequest(name="databases/archive", backup_id="monday")
        cancelled = await client.admin.BackupDatabase(backup)
        await gate.arrival()
        await client.cancel(cancelled)
        await client.end(cancelled)
        running = await client.begin("orders", 10_000)
        await gate.arrival()
        gate.admit(9)
        await gate.arrival()
        elsewhere = await other.create("orders")
        ids = zip(
            ("9f1c", "77ae", "c3d8", "4b02", "e61f"),
            (running, cancelled, failed, done, elsewhere),
            strict=True,
        )
        yield {
            "127.0.0.1:50051": east.target,
            "127.0.0.1:50052": west.target,
            "127.0.0.1:8080": "127.0.0.1:8080",
            **{f"operations/{i}": "/".join(op.name.split("/")[-2:]) for i, op in ids},
        }
        gate.release()


@pytest.mark.parametrize("name", PAGES)
async def test_what_a_page_shows_is_true(name: str, tmp_path: Path) -> None:
    """Commands answer as the page says, configurations load, MCP clients can be started."""
    page_directory = tmp_path / "page"
    page_directory.mkdir()
    async with staged(tmp_path) as real:
        page = Page(page_directory, real)
        try:
            await page.work_through(PAGES[name])
        finally:
            await page.close()


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of the first table below a heading, by their first cell."""
    section = re.split(rf"^#+ {re.escape(heading)}$", PAGES[page], flags=re.MULTILINE)[1]
    table = section[section.index("|---") :].split("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return {row[0].strip("`"): row[1:] for row in cells}


def default(model: type[BaseModel], key: str) -> str:
    """Return a key's default as the documentation writes it."""
    value = model.model_fields[key].get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return "none" if value is None else f"`{json.dumps(value, default=seconds)}`"


def seconds(duration: timedelta) -> str:
    """Return a duration as the configuration writes it."""
    return f"{duration.total_seconds():g}s"


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("server", models.ServerConfig),
        ("backends", models.BackendConfig),
        ("backends.tls", models.TlsConfig),
    ],
)
def test_every_key_is_described_with_its_true_default(heading: str, model: type[BaseModel]) -> None:
    """docs/configuration.md has each key of a table, no other, in order, with its default."""
    described = {key: cells[0] for key, cells in rows("docs/configuration.md", heading).items()}
    assert list(described.items()) == [(key, default(model, key)) for key in model.model_fields]


def test_every_option_of_serve_is_described() -> None:
    """docs/configuration.md has each option of the command line, and no other."""
    described = re.findall(r"--[a-z-]+", " ".join(rows("docs/configuration.md", "Command line")))
    options = {f"--{name.replace('_', '-')}" for name in signature(cli.serve).parameters}
    assert set(described) == options


EXAMPLE: Final = (ROOT / "gateway.example.toml").read_text()
WHOLE_EXAMPLE: Final = re.sub(r"^# (\[\[|\w+ = )", r"\1", EXAMPLE, flags=re.MULTILINE)
"""The example with its second backend, which stands in a comment."""


@pytest.mark.parametrize("text", [EXAMPLE, WHOLE_EXAMPLE], ids=["as it is", "uncommented"])
def test_the_example_configuration_loads(text: str, tmp_path: Path) -> None:
    """gateway.example.toml is sound, with and without what it has in comments."""
    for name in ("ca.pem", "client.pem", "client.key"):
        (tmp_path / name).touch()
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    assert loading.load(file).backends[0].name == "demo"


def test_the_example_configuration_has_every_key_with_its_default() -> None:
    """A key of gateway.example.toml is the default unless its comment says what the default is."""
    example = tomllib.loads(WHOLE_EXAMPLE)
    first, second = example["backends"]
    assert list(example["server"]) == list(models.ServerConfig.model_fields)
    assert [*first, "tls"] == list(models.BackendConfig.model_fields)
    assert list(second["tls"]) == list(models.TlsConfig.model_fields)
    not_defaults = {"name", "target", "operations", "metadata"}
    for model, table in ((models.ServerConfig, example["server"]), (models.BackendConfig, first)):
        for key in table.keys() - not_defaults:
            assert f"`{json.dumps(table[key])}`" == default(model, key), key


def reasons() -> dict[str, str]:
    """Return each reason of an ErrorInfo that the gateway makes, with its code's name."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "lro_gateway").rglob("*.py")):
        if "demo" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "status_error":
                code = ast.unparse(node.args[0]).removeprefix("Code.")
            elif node.func.id == "invalid_argument":
                code = "INVALID_ARGUMENT"
            else:
                continue
            parts = [n for argument in node.args[2:] for n in ast.walk(argument)]
            texts = [str(part.value) for part in parts if isinstance(part, ast.Constant)]
            found.update(dict.fromkeys(texts or ["INVALID_FIELD"], code))
    return found


def test_every_reason_of_the_gateways_errors_is_described() -> None:
    """docs/operating.md has each reason with its code, in order, and no other."""
    described = rows("docs/operating.md", "Errors of the gateway")
    told = {reason: cells[0].strip("`") for reason, cells in described.items()}
    assert list(told.items()) == sorted(reasons().items())


def test_every_code_is_described_with_its_http_status() -> None:
    """docs/rest.md has the table of google/rpc/code.proto."""
    described = {code: int(cells[0]) for code, cells in rows("docs/rest.md", "Errors").items()}
    assert described == {code.name: code.http_status for code in Code if code is not Code.OK}


def test_every_tool_is_described_with_its_arguments() -> None:
    """docs/mcp.md has each tool, its arguments, and what it is announced to do."""
    described = {
        tool: (set(re.findall(r"\w+", cells[0])), cells[2])
        for tool, cells in rows("docs/mcp.md", "Tools").items()
    }
    assert described == {
        tool.name: (
            set(tool.input_schema(())["properties"]),
            "read-only" if tool.annotations.read_only_hint else "destructive, idempotent",
        )
        for tool in TOOLS
    }


def test_every_parameter_is_described() -> None:
    """docs/rest.md has each parameter of the OpenAPI document, and timeout."""
    document = openapi_document((), "")["components"]["parameters"]
    queried = {p["name"] for p in document.values() if p["in"] == "query"}
    assert set(rows("docs/rest.md", "Parameters")) == queried | {"timeout"}


def anchors(page: str) -> set[str]:
    """Return what a link into a page can lead to, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", PAGES[page]), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    """A relative link is of a file that exists and, where it has one, of a heading in it."""
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file.relative_to(ROOT).as_posix()), target


def test_readme_links_every_page() -> None:
    """README.md is where a reader begins."""
    assert {
        page for page in PAGES if page != "README.md" and f"({page})" not in PAGES["README.md"]
    } == set()


def test_the_demo_script_runs_the_demo() -> None:
    """`scripts/demo`, which the pages show, is `lro-gateway demo` after the set-up."""
    script = ROOT / "scripts" / "demo"
    assert os.access(script, os.X_OK)
    assert script.read_text().endswith('exec .venv/bin/lro-gateway demo "$@"\n')


def test_the_project_names_no_machine_and_no_package_registry() -> None:
    """What is checked in works elsewhere: no path of one machine, no host to install from."""
    paths = r"(?<![\w.])/(?:root|home|work|Users|mnt|tmp)/"
    astray = re.compile(rf"{paths}|\b(?:py[p]i|python[h]osted|index-url)\b", re.IGNORECASE)
    kinds = {".md", ".toml", ".txt", ".py", ".proto", ".pyi", ""}
    rooms = ("docs", "lro_gateway", "proto", "scripts", "tests")
    files = [*ROOT.iterdir(), *(path for room in rooms for path in (ROOT / room).rglob("*"))]
    named = [
        (path.name, found[0])
        for path in files
        if path.is_file()
        and path.suffix in kinds
        and path.name not in {Path(__file__).name, ".git"}
        if (found := astray.search(path.read_text()))
    ]
    assert named == []
