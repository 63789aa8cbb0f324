"""The tests run every example in README.md and docs/ with real backends and a real gateway.

They process the fenced blocks of a page in order, in a directory for that page:

- In a `console` block, bash runs each `$ command`, and the lines after it are the expected output.
  A `lro-gateway` without pipes, variables or patterns needs no bash.
- A block with a file name, such as `toml gateway.toml`, is written to that file for the commands.
- TOML is loaded as a configuration, and JSON is parsed. A later command must run each Python file.
- The tools of an MCP client's servers are listed.
- A `text` block is a picture, and is not checked.
- tests/faces/test_proxies.py runs the configurations of proxies, and
  tests/deliveries/test_receiver_example.py the receiver of webhooks.

In an expected output, `...` matches any text, and a time matches any time. An address or an id of
an operation is an example of a real one. The fixture sets the real one, or the first output that
shows the example does. A command that serves goes on in the background, and its lines may come in
any order. `^C` or the end of the page stops it.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any, Final

import grpc.aio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from lro_gateway.commands import serving
from lro_gateway.config import auth, credentials, loading, models
from lro_gateway.config.audit import AuditConfig
from lro_gateway.config.auth_connections import CertificatesConfig, ProxyConfig
from lro_gateway.config.deliveries import DeliveriesConfig
from lro_gateway.config.limits import LimitsConfig, RatesConfig
from lro_gateway.config.logs import LogsConfig
from lro_gateway.config.mcp import McpConfig
from lro_gateway.config.policy import RuleConfig
from lro_gateway.config.server_tls import ServerTlsConfig
from lro_gateway.config.store import StoreConfig
from lro_gateway.demo.databases import damage
from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.demo.v1 import database_admin_pb2 as pb
from lro_gateway.errors import Code
from lro_gateway.mcp.tools.verb_tools import TOOLS
from lro_gateway.records.location import Location
from lro_gateway.rest.openapi.document import openapi_document
from lro_gateway.service.rates import Rate
from tests.demo.client import Client as DemoClient
from tests.forking import COMMAND

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
FILES: Final = (
    *("ca.pem", "client.pem", "client.key"),
    *("server.pem", "server.key", "revoked.pem"),
    *("tokens.toml", "jwks.json", "token", "secret"),
)
"""The files that configurations on the pages name."""
_BLOCK: Final = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLE: Final = r"127\.0\.0\.1:(?:8080|5005[12])|(?:operations|approvals)/[0-9a-f]{4}\b"
_TIME: Final = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
_PLACEHOLDER: Final = re.compile(rf"(\.\.\.|{_EXAMPLE}|{_TIME})")
_OF_PROXIES: Final = {"nginx", "yaml", "caddyfile"}
"""The languages of the configurations that tests/faces/test_proxies.py runs."""
_RECEIVER: Final = "receiver.py"
_SHELL: Final = re.compile(r"[^\w '\",.:/=%{}\[\]-]")
_SERVING: Final = ("lro-gateway serve", "lro-gateway demo", "scripts/demo")
_SERVICE: Final = "python -m lro_gateway.demo --directory"
_OF_AGENT: Final = "agent.token"
"""The file with the token that stands for TOKEN in the configuration of an MCP client."""
_TIMEOUT: Final = 120
"""Seconds for one command, or for the first lines of a command that serves."""


@dataclass
class Page:
    """A page: its directory, the real value of each example, its files and its running servers."""

    directory: Path
    real: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    servers: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def run(self, text: str) -> None:
        """Process each block of a page's text."""
        not_run = set()
        for language, name, content in _BLOCK.findall(text):
            if name:
                self.files[name] = content
                not_run |= {name} if language == "python" and name != _RECEIVER else set()
            if language == "console":
                for command, output in _commands(content):
                    not_run -= set(command.split())
                    await (self._stop() if command == "^C" else self._run(command, output))
            elif language == "toml":
                await self._load(content)
            elif language == "json":
                await self._check_clients(json.loads(self.actual(content)))
            else:
                assert language in {"text", "proto", "python", "ini", *_OF_PROXIES}, (
                    f"no test processes a block of {language}"
                )
        assert not_run == set(), "no command runs these Python files"

    def actual(self, text: str) -> str:
        """Return a text with real addresses and ids in place of the examples."""
        return re.sub(_EXAMPLE, lambda example: self.real.get(example[0], example[0]), text)

    async def _run(self, command: str, output: str) -> None:
        for name, content in self.files.items():
            (self.directory / name).write_text(self.actual(content))
        serves = command.startswith(_SERVING) and (not output or "http://" in output)
        serves = serves or command.startswith(_SERVICE)
        if serves:
            command = self._served(command, output)
        process = await asyncio.create_subprocess_exec(
            *_words(f"exec {command}" if serves else self._ended(command)),
            cwd=self.directory,
            env=self._environment(serves=serves),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        if serves:
            self.servers.append(process)
            await self._await_lines(process, output.splitlines() or ["..."])
            return
        async with asyncio.timeout(_TIMEOUT):
            stdout, _ = await process.communicate()
        printed = stdout.decode().replace("\r\n", "\n")
        problem = f"$ {command}\nprints\n{printed}\nbut the page shows\n{output}"
        assert self._matches(output, printed), problem

    def _served(self, command: str, output: str) -> str:
        """Return a command that serves at a free port."""
        for address in ("127.0.0.1:8080", "127.0.0.1:50051"):
            if address in output and address not in command:
                # The output of the command shows the real address.
                self.real.pop(address, None)
        free = " --address 127.0.0.1:0" if command.startswith(_SERVICE) else " --port 0"
        return self.actual(command.replace("scripts/demo", "lro-gateway demo")) + free

    def _ended(self, command: str) -> str:
        """Return a command that ends by itself. `check` may find port 8080 in use otherwise."""
        port = " --port 0" if command.startswith("lro-gateway check") else ""
        return self.actual(command) + port

    def _environment(self, *, serves: bool) -> dict[str, str]:
        (self.directory / ".curlrc").write_text("silent\nshow-error\n")  # no progress meter
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        # `check` tells where the store is, and makes none.
        kept = {} if serves else {"LRO_GATEWAY_STORE": ""}
        home = str(self.directory)
        url = f"http://{self.real['127.0.0.1:8080']}" if "127.0.0.1:8080" in self.real else ""
        return {
            **os.environ,
            **kept,
            "PATH": path,
            "HOME": home,
            "CURL_HOME": home,
            "TMPDIR": home,
            # The pages show commands for the gateway at its default address.
            **({"LRO_GATEWAY_URL": url} if url else {}),
        }

    async def _await_lines(self, process: asyncio.subprocess.Process, expected: list[str]) -> None:
        assert process.stdout is not None
        printed = ""
        try:
            async with asyncio.timeout(_TIMEOUT):
                while expected:
                    line = (await process.stdout.readline()).decode()
                    assert line, f"the command ended without {expected}"
                    printed += line
                    expected = [other for other in expected if not self._matches(other, line)]
        except TimeoutError:
            pytest.fail(f"the command prints\n{printed}\nbut not {expected}")

    def _matches(self, expected: str, printed: str) -> bool:
        """Compare two outputs, and keep the real value of each example that is new."""
        groups: dict[str, str] = {}
        pattern = ""
        for index, part in enumerate(_PLACEHOLDER.split(expected.strip())):
            if not index % 2:
                pattern += re.escape(part)
            elif part == "..." or re.fullmatch(_TIME, part):
                pattern += ".*?" if part == "..." else _TIME
            elif part in self.real:
                pattern += re.escape(self.real[part])
            elif part in groups:
                pattern += f"(?P={groups[part]})"
            else:
                groups[part] = f"example{index}"
                kind = part.partition("/")[0] if "/" in part else ""
                general = rf"{kind}/\w+" if kind else r"127.0.0.1:\d+"
                pattern += f"(?P<{groups[part]}>{general})"
        found = re.fullmatch(pattern, printed.strip(), re.DOTALL)
        if found:
            self.real.update({example: found[group] for example, group in groups.items()})
        return found is not None

    async def _load(self, content: str) -> None:
        for name in FILES:
            (self.directory / name).touch()
        file = self.directory / "checked.toml"
        file.write_text(content)
        loading.load(file)

    async def _check_clients(self, content: Any) -> None:
        """Start or call each server in the configuration of an MCP client, and list its tools."""
        for server in content.get("mcpServers", {}).values():
            if "url" in server:
                await self._check_tools(server["url"], server["headers"])
                continue
            command = str(Path(sys.executable).parent / server["command"])
            parameters = StdioServerParameters(command=command, args=server["args"])
            async with asyncio.timeout(_TIMEOUT), Client(parameters) as client:
                listed = {tool.name for tool in (await client.list_tools()).tools}
                assert {tool.name for tool in TOOLS} < listed, "the tools of methods are missing"

    async def _check_tools(self, url: str, headers: Mapping[str, str]) -> None:
        """List the tools of a server with the token in the headers: those that its rules allow."""
        token = (self.directory / _OF_AGENT).read_text().strip()
        sent = {key: value.replace("TOKEN", token) for key, value in headers.items()}
        async with (
            asyncio.timeout(_TIMEOUT),
            create_mcp_http_client(headers=sent) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            listed = {tool.name for tool in (await client.list_tools()).tools}
        assert {"create_database", "export_query", "get_operation"} < listed
        assert not {"backup_database", "cancel_operation"} & listed

    async def _stop(self) -> None:
        server = self.servers.pop()
        if server.returncode is None:
            server.terminate()
        async with asyncio.timeout(_TIMEOUT):
            assert await server.wait() == 0

    async def close(self) -> None:
        """Stop the servers that still run."""
        while self.servers:
            await self._stop()


def _words(command: str) -> tuple[str, ...]:
    """Return a command that bash need not read as its words, or bash with the command."""
    first, *words = shlex.split(command.removeprefix("exec "))
    if first != "lro-gateway" or _SHELL.search(command):
        return ("bash", "-c", command)
    return (COMMAND, *words)


def _commands(content: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with its output; `^C` counts as a command."""
    for part in re.split(r"^(?=\$ |\^C$)", content, flags=re.MULTILINE)[1:]:
        joined = re.sub(r"\\\n> ?", "", part)
        command, _, output = joined.partition("\n")
        yield command.removeprefix("$ "), output


@asynccontextmanager
async def two_backends(directory: Path) -> AsyncIterator[dict[str, str]]:
    """Serve two demo backends; yields the real value of each address and id on the pages.

    The first backend has an operation that is stopped at 42%, one that succeeded, one that failed
    and one that was cancelled. The second backend has one that succeeded.
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
        done_at_west = await other.create("orders")
        ids = zip(
            ("9f1c", "77ae", "c3d8", "4b02", "e61f"),
            (running, cancelled, failed, done, done_at_west),
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
async def test_the_examples_of_a_page_work(name: str, tmp_path: Path) -> None:
    """Commands print the output on the page, configurations load, and MCP clients connect."""
    page_directory = tmp_path / "page"
    page_directory.mkdir()
    async with two_backends(tmp_path) as real:
        page = Page(page_directory, real)
        try:
            await page.run(PAGES[name])
        finally:
            await page.close()


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of the first table below a heading, by their first cell."""
    section = re.split(rf"^#+ {re.escape(heading)}$", PAGES[page], flags=re.MULTILINE)[1]
    table = section[section.index("|---") :].split("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return {row[0].strip("`"): row[1:] for row in cells}


def default(model: type[BaseModel], key: str) -> str:
    """Return a key's default in the form of the documentation."""
    value = model.model_fields[key].get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    return "none" if value is None else f"`{json.dumps(value, default=written)}`"


def written(value: timedelta | Location | Rate) -> str:
    """Return a duration, such as `10s`, a location or a rate in the form of the configuration."""
    if isinstance(value, Location):
        return str(value)
    if isinstance(value, Rate):
        return value.text
    is_days = value and not value % timedelta(days=1)
    return f"{value.days}d" if is_days else f"{value.total_seconds():g}s"


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("server", models.ServerConfig),
        ("server.tls", ServerTlsConfig),
        ("limits", LimitsConfig),
        ("limits.rates", RatesConfig),
        ("mcp", McpConfig),
        ("logs", LogsConfig),
        ("store", StoreConfig),
        ("deliveries", DeliveriesConfig),
        ("auth", auth.AuthConfig),
        ("auth.certificates", CertificatesConfig),
        ("auth.proxy", ProxyConfig),
        ("auth.issuers", auth.IssuerConfig),
        ("auth.issuers.claims", auth.ClaimsConfig),
        ("auth.stdio", auth.StdioConfig),
        ("policy", RuleConfig),
        ("audit", AuditConfig),
        ("backends", models.BackendConfig),
        ("backends.credentials", credentials.CredentialsConfig),
        ("backends.credentials.client_credentials", credentials.OAuthConfig),
        ("backends.credentials.token_exchange", credentials.ExchangeConfig),
        ("backends.credentials.google", credentials.GoogleConfig),
        ("backends.tls", models.TlsConfig),
    ],
)
def test_every_key_is_described_with_its_default(heading: str, model: type[BaseModel]) -> None:
    """docs/configuration.md has exactly the keys of a table, in order, with their defaults."""
    described = {key: cells[0] for key, cells in rows("docs/configuration.md", heading).items()}
    assert list(described.items()) == [(key, default(model, key)) for key in model.model_fields]


def test_every_option_of_serve_is_described() -> None:
    """docs/configuration.md has exactly the options of the command."""
    described = re.findall(r"--[a-z-]+", " ".join(rows("docs/configuration.md", "Command line")))
    options = {f"--{name.replace('_', '-')}" for name in signature(serving.serve).parameters}
    assert set(described) == options


EXAMPLE: Final = (ROOT / "gateway.example.toml").read_text()
WHOLE_EXAMPLE: Final = re.sub(r"^# (\[|\w+ = )", r"\1", EXAMPLE, flags=re.MULTILINE)
"""The example with the table auth and more backends, which are in comments of the file."""


@pytest.mark.parametrize("text", [EXAMPLE, WHOLE_EXAMPLE], ids=["unchanged", "uncommented"])
def test_the_example_configuration_loads(text: str, tmp_path: Path) -> None:
    """gateway.example.toml is valid, with and without what is in its comments."""
    for name in FILES:
        (tmp_path / name).write_text("5f1e")
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    assert loading.load(file).backends[0].name == "demo"


def test_the_example_configuration_has_every_key_with_its_default() -> None:
    """gateway.example.toml has every key, and most have their defaults."""
    example = tomllib.loads(WHOLE_EXAMPLE)
    first, second, third, fourth, fifth = example["backends"]
    assert list(example) == list(models.GatewayConfig.model_fields)
    tables: dict[str, type[BaseModel]] = {
        "server": models.ServerConfig,
        "limits": LimitsConfig,
        "mcp": McpConfig,
        "logs": LogsConfig,
        "audit": AuditConfig,
        "store": StoreConfig,
        "deliveries": DeliveriesConfig,
    }
    for name, model in tables.items():
        assert list(example[name]) == list(model.model_fields)
    assert [*first, "credentials", "tls"] == list(models.BackendConfig.model_fields)
    assert list(second["tls"]) == list(models.TlsConfig.model_fields)
    assert list(example["server"]["tls"]) == list(ServerTlsConfig.model_fields)
    own, exchange = (
        each["credentials"][kind]
        for each, kind in ((third, "client_credentials"), (fourth, "token_exchange"))
    )
    assert {*own, *exchange} == set(credentials.ExchangeConfig.model_fields)
    kinds = {kind for each in (second, third, fourth, fifth) for kind in each["credentials"]}
    assert kinds == set(credentials.CredentialsConfig.model_fields)
    google = fifth["credentials"]["google"]
    assert list(google) == list(credentials.GoogleConfig.model_fields)
    (rule,) = example["policy"]
    assert list(rule) == [key for key in RuleConfig.model_fields if key != "deny"]
    issuer, other = example["auth"]["issuers"]
    assert list(example["auth"]) == list(auth.AuthConfig.model_fields)
    assert {*issuer, *other} == set(auth.IssuerConfig.model_fields)
    assert list(example["auth"]["certificates"]) == list(CertificatesConfig.model_fields)
    assert list(example["auth"]["proxy"]) == list(ProxyConfig.model_fields)
    assert example["auth"]["proxy"].pop("issuer") == "proxy"
    not_defaults = {"name", "target", "operations", "metadata", "subject", "tls"}
    not_defaults |= {"issuer", "jwks_url", "ca", "claims", "addresses"}
    written = [(tables[name], example[name]) for name in tables]
    written.append((models.BackendConfig, first))
    written += [(auth.IssuerConfig, issuer), (auth.StdioConfig, example["auth"]["stdio"])]
    written.append((auth.ClaimsConfig, issuer["claims"]))
    written.append((CertificatesConfig, example["auth"]["certificates"]))
    written.append((ProxyConfig, example["auth"]["proxy"]))
    written.append((credentials.GoogleConfig, google))
    for model, values in written:
        for key in values.keys() - not_defaults:
            assert f"`{json.dumps(values[key])}`" == default(model, key), key


def test_every_table_of_the_configuration_has_a_section() -> None:
    """docs/configuration.md has one section for each table of the file, in order."""
    headings = re.findall(r"^## (.*)$", PAGES["docs/configuration.md"], re.MULTILINE)
    tables = list(models.GatewayConfig.model_fields)
    assert [heading for heading in headings if heading in tables] == tables


def reasons() -> dict[str, str]:
    """Return the reason of each error that the gateway makes, with the name of its code.

    The name is `any` if the code of the error depends on the failure.
    """
    found: dict[str, str] = {}
    for path in sorted((ROOT / "lro_gateway").rglob("*.py")):
        if "demo" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "status_error":
                code = ast.unparse(node.args[0])
                code = code.removeprefix("Code.") if re.fullmatch(r"Code\.[A-Z_]+", code) else "any"
            elif node.func.id == "invalid_argument":
                code = "INVALID_ARGUMENT"
            else:
                continue
            parts = [n for argument in node.args[2:] for n in ast.walk(argument)]
            texts = [str(part.value) for part in parts if isinstance(part, ast.Constant)]
            found.update(dict.fromkeys(texts or ["INVALID_FIELD"], code))
    return found


def test_every_reason_of_the_gateways_errors_is_described() -> None:
    """docs/operating.md has exactly these reasons, in order, with their codes."""
    described = rows("docs/operating.md", "Errors of the gateway")
    codes = {reason: cells[0].strip("`") for reason, cells in described.items()}
    assert list(codes.items()) == sorted(reasons().items())


def test_every_bound_is_in_the_table_of_bounds() -> None:
    """docs/security.md has each setting of a bound, and each refusal with its statuses."""
    described = rows("docs/security.md", "Bounds")
    settings = {cells[1].strip("`"): cells for cells in described.values()}
    limits = {f"limits.{key}" for key in LimitsConfig.model_fields} - {"limits.rates"}
    rates = {f"limits.rates.{key}" for key in RatesConfig.model_fields}
    of_backends = {key for key in models.BackendConfig.model_fields if key.startswith("max_")}
    times = {"deadline", "discovery_wait", "polls_per_second", "server.max_body_bytes"}
    assert limits | rates | of_backends | times <= settings.keys()
    text = " ".join(cells[2] for cells in described.values())
    known = reasons()
    assert {each for each in known if BOUND.search(each)} <= set(re.findall(r"[A-Z_]{6,}", text))
    codes = {code.name: code.http_status for code in Code}
    for status, code, reason in re.findall(r"(\d{3}) ([A-Z_]+), `([A-Z_]+)`", text):
        assert known[reason] in {code, "any"}
        assert int(status) == OF_HTTP.get(reason, codes[code]), reason


OF_HTTP: Final = {
    "HEADERS_TOO_LARGE": 431,
    "TARGET_TOO_LARGE": 414,
    "BODY_TOO_LARGE": 413,
    "REQUEST_TIMEOUT": 408,
}
"""The HTTP statuses of refusals for which google.rpc.Code has no status."""
BOUND: Final = re.compile(r"^TOO_MANY_|_TOO_LARGE$|_EXCEEDED$|^REQUEST_TIMEOUT$")
"""The reasons of refusals because of a bound."""


def test_every_code_is_described_with_its_http_status() -> None:
    """docs/rest.md has each code of google/rpc/code.proto except OK."""
    described = {code: int(cells[0]) for code, cells in rows("docs/rest.md", "Errors").items()}
    assert described == {code.name: code.http_status for code in Code if code is not Code.OK}


def test_every_tool_is_described_with_its_arguments() -> None:
    """docs/mcp.md has each tool with its arguments and its hints."""
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
    """docs/rest.md has each query parameter of the OpenAPI document, and `timeout`."""
    document = openapi_document((), "")["components"]["parameters"]
    queried = {p["name"] for p in document.values() if p["in"] == "query"}
    assert set(rows("docs/rest.md", "Parameters")) == queried | {"timeout"}


def anchors(page: str) -> set[str]:
    """Return the anchors of a page, which GitHub makes from its headings."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", PAGES[page]), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_has_a_target(name: str) -> None:
    """The file of a relative link exists, and has a heading for the link's anchor."""
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file.relative_to(ROOT).as_posix()), target


LONG: Final = 250
"""The number of lines from which a page begins with its sections."""


@pytest.mark.parametrize("name", [name for name in PAGES if PAGES[name].count("\n") > LONG])
def test_a_long_page_begins_with_links_to_its_sections(name: str) -> None:
    """A reader finds the part that matters without the rest."""
    before, *_ = re.split(r"^## ", PAGES[name], maxsplit=1, flags=re.MULTILINE)
    (listed,) = re.findall(r"^On this page: (.*?)\.$", before, re.MULTILINE | re.DOTALL)
    sections = re.findall(r"^## (.*)$", _BLOCK.sub("", PAGES[name]), re.MULTILINE)
    assert re.findall(r"\[([^\]]+)\]", listed) == sections


def test_readme_links_every_page() -> None:
    """A reader finds every page from README.md."""
    assert {
        page for page in PAGES if page != "README.md" and f"({page})" not in PAGES["README.md"]
    } == set()


def test_every_file_that_contributing_names_exists() -> None:
    """A contributor finds the files to change."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:[\w.]+/)*[\w.]+\.(?:py|md|toml))`", text)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_demo_script_runs_the_demo() -> None:
    """`scripts/demo`, which the pages use, sets up the project and runs `lro-gateway demo`."""
    script = ROOT / "scripts" / "demo"
    assert os.access(script, os.X_OK)
    assert script.read_text().endswith('exec .venv/bin/lro-gateway demo "$@"\n')


def test_the_project_names_no_machine_and_no_package_registry() -> None:
    """The files work on any machine, because they name no local path and no registry host."""
    paths = r"(?<![\w.])/(?:root|home|work|Users|mnt|tmp)/"
    local = re.compile(rf"{paths}|\b(?:py[p]i|python[h]osted|index-url)\b", re.IGNORECASE)
    kinds = {".md", ".toml", ".txt", ".py", ".proto", ".pyi", ""}
    folders = ("docs", "lro_gateway", "proto", "scripts", "tests")
    files = [*ROOT.iterdir(), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    named = [
        (path.name, found[0])
        for path in files
        if path.is_file()
        and path.suffix in kinds
        and path.name not in {Path(__file__).name, ".git"}
        if (found := local.search(path.read_text(errors="replace")))
    ]
    assert named == []
