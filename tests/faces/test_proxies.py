"""The gateway behind real proxies, with the configurations of docs/proxies.md."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.longrunning import operations_pb2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.contrary import Answer, ContraryBackend, acknowledging, answering
from tests.faces.test_connection_callers import noting
from tests.gateways import serving
from tests.ports import unused_port

pytestmark = pytest.mark.anyio

ROOT: Final = Path(__file__).parents[2]
NGINX_PATHS: Final = " ".join(
    f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
NGINX_MAIN: Final = (
    "daemon off; pid nginx.pid; error_log stderr notice; events {}"
    f" http {{ access_log off; {NGINX_PATHS} include gateway.conf; }}"
)
COMMANDS: Final = {
    "nginx": ["nginx", "-p", ".", "-c", "nginx.conf", "-e", "stderr"],
    "nginx that removes the prefix": ["nginx", "-p", ".", "-c", "nginx.conf", "-e", "stderr"],
    "envoy": [str(ROOT / ".venv/envoy/envoy/_bin/envoy"), "-c", "envoy.yaml", "--concurrency", "1"],
    "caddy": ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
}
PROXIES: Final = list(COMMANDS)
IDENTIFYING: Final = "nginx that identifies callers"
SERVES: Final = {
    "nginx": b"start worker process ",
    "envoy": b"starting main dispatch loop",
    "caddy": b"serving initial configuration",
}
"""The text in the log of each proxy when it serves."""


@dataclass
class Job:
    """A backend with one operation, which ends when a test says so."""

    ends: asyncio.Event

    def _operation(self) -> operations_pb2.Operation:
        return operations_pb2.Operation(name="jobs/1", done=self.ends.is_set())

    async def get(self, _request: Any, _context: Any) -> Answer:
        answer: Answer = self._operation()
        return answer

    async def wait(self, _request: Any, _context: Any) -> Answer:
        await self.ends.wait()
        answer: Answer = self._operation()
        return answer


def write_certificate(directory: Path) -> ssl.SSLContext:
    """Write a new certificate of `localhost` and its key; return a context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    alternatives: Sequence[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "gateway.pem").write_bytes(certificate.public_bytes(pem))
    (directory / "gateway.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ssl.create_default_context(cafile=str(directory / "gateway.pem"))


def write_configuration(directory: Path, kind: str, gateway: str, port: int) -> None:
    """Write the files of docs/proxies.md, with the real addresses."""
    page = (ROOT / "docs/proxies.md").read_text()
    if kind == IDENTIFYING:
        page = (ROOT / "docs/security.md").read_text().replace("identified.conf", "gateway.conf")
        (directory / "users").write_text("ana:{PLAIN}secret\n")
    for name, content in re.findall(r"^```\w+ (\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        text = content.replace("8443", str(port)).replace("gateway.test", "localhost")
        text = text.replace("127.0.0.1:8080", gateway)
        text = text.replace("port_value: 8080", f"port_value: {gateway.partition(':')[2]}")
        if kind == "nginx that removes the prefix":
            text = text.replace(f"proxy_pass http://{gateway};", f"proxy_pass http://{gateway}/;")
        (directory / name).write_text(text)
    # As root, nginx would otherwise give its workers to another user, who cannot read the files.
    user = "user root; " if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(user + NGINX_MAIN)
    if kind == IDENTIFYING:
        return
    # Otherwise Caddy would listen at a fixed port for its administration, and at port 80.
    caddyfile = directory / "Caddyfile"
    caddyfile.write_text("{\nadmin off\nauto_https off\n}\n" + caddyfile.read_text())


@dataclass
class Served:
    """A proxy that serves the gateway: its URL with the prefix, and a context that trusts it."""

    url: str
    context: ssl.SSLContext

    def rest(self) -> httpx.AsyncClient:
        """Return a client of REST."""
        return httpx.AsyncClient(base_url=self.url, verify=self.context, timeout=60)

    @asynccontextmanager
    async def mcp(self, mode: Any) -> AsyncIterator[Client]:
        """Open a client of MCP."""
        async with (
            httpx2.AsyncClient(verify=self.context, timeout=60) as http,
            Client(
                streamable_http_client(f"{self.url}/mcp", http_client=http), mode=mode
            ) as client,
        ):
            yield client


@asynccontextmanager
async def running(kind: str, directory: Path, gateway: str) -> AsyncIterator[Served]:
    """Run a proxy in front of a gateway until the context ends."""
    command = COMMANDS["nginx" if kind == IDENTIFYING else kind]
    if shutil.which(command[0]) is None:
        problem = f"{command[0]} is not installed; run scripts/setup --tests as root on Debian"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)
    port = unused_port()
    context = write_certificate(directory)
    write_configuration(directory, kind, gateway, port)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "HOME": str(directory)},
    )
    printed = asyncio.create_task(_read_on(process, await _until_it_serves(process, command[0])))
    try:
        prefix = "" if kind == IDENTIFYING else "/lro"
        yield Served(f"https://localhost:{port}{prefix}", context)
    finally:
        process.terminate()
        await process.wait()
        await printed


async def _until_it_serves(
    process: asyncio.subprocess.Process, command: str
) -> asyncio.StreamReader:
    """Read the log of a proxy until it serves; return the rest."""
    assert process.stdout is not None
    log = b""
    async with asyncio.timeout(60):
        while SERVES[Path(command).name] not in log:
            line = await process.stdout.readline()
            assert line, log.decode()
            log += line
    return process.stdout


async def _read_on(process: asyncio.subprocess.Process, log: asyncio.StreamReader) -> None:
    """Read the rest of a log, so that the proxy never waits for a reader."""
    while process.returncode is None and await log.read(4096):
        pass


@asynccontextmanager
async def behind(kind: str, directory: Path) -> AsyncIterator[tuple[Served, asyncio.Event]]:
    """Serve two backends behind a proxy; yield the proxy, and the event that ends the operation."""
    job = Job(asyncio.Event())
    handlers = {
        "GetOperation": job.get,
        "WaitOperation": job.wait,
        "CancelOperation": acknowledging(),
        "ListOperations": answering(
            operations_pb2.ListOperationsResponse(
                operations=[operations_pb2.Operation(name="jobs/1")]
            )
        ),
    }
    async with (
        ContraryBackend.open(handlers) as backend,
        serving(
            {"name": "east", "target": backend.target},
            {"name": "west", "target": backend.target},
            root_path="/lro",
            trusted_proxies=["127.0.0.1"],
            allowed_hosts=["gateway.test"],
        ) as url,
        running(kind, directory, url.removeprefix("http://")) as served,
    ):
        yield served, job.ends


FORMS: Final = ("-/backends/west/jobs/1", "-?name=//west/jobs/1", "jobs/1?backend=west")


@pytest.mark.parametrize("kind", PROXIES)
async def test_rest_works_behind_a_proxy_with_a_prefix(kind: str, tmp_path: Path) -> None:
    """This includes lists, waits, watches, the names of a second backend, and documentation."""
    async with behind(kind, tmp_path) as (served, ends), served.rest() as client:
        listed = (await client.get("/v1/operations")).json()["operations"]
        assert [each["name"] for each in listed] == ["//east/jobs/1", "//west/jobs/1"]
        for form in FORMS:
            answer = await client.get(f"/v1/{form}")
            assert answer.json() == {"name": "//west/jobs/1", "done": False}
        assert (await client.get("/")).json()["docs"] == "docs"
        found = await client.get("/?state=running", headers={"accept": "text/html"})
        assert '<base href="/lro/">' in found.text
        for script in re.findall(r'(?:src|href)="([a-z.]+)"', found.text):
            assert (await client.get(f"/{script}")).status_code == 200, script
        page = await client.get("/docs")
        links = re.findall(r"""(?:src|href|url)[=:] ?["']([^"']+)["']""", page.text)
        for link in links:
            assert (await client.get(page.url.join(link))).status_code == 200
        document = (await client.get("/openapi.json")).json()
        assert document["servers"] == [{"url": "/lro"}]
        own = {"Origin": served.url.removesuffix("/lro")}
        cancelled = await client.post("/v1/-/backends/west/jobs/1:cancel", headers=own)
        assert cancelled.json() == {}
        async with client.stream("GET", "/v1/-/backends/west/jobs/1:watch") as events:
            lines = events.aiter_lines()
            states = [await _state(lines)]
            ends.set()
            states.append(await _state(lines))
        assert [state["done"] for state in states] == [False, True]
        waited = await client.post("/v1/-/backends/west/jobs/1:wait")
        assert waited.json() == {"name": "//west/jobs/1", "done": True}


async def _state(lines: AsyncIterator[str]) -> Any:
    async for line in lines:
        if line.startswith("data: "):
            return json.loads(line.removeprefix("data: "))
    pytest.fail("the stream ended")


@pytest.mark.parametrize("kind", PROXIES)
async def test_the_slashes_of_a_full_name_survive_or_the_error_names_another_form(
    kind: str, tmp_path: Path
) -> None:
    """The slashes are merged by nginx if it removes the prefix itself."""
    async with behind(kind, tmp_path) as (served, _ends), served.rest() as client:
        answer = await client.get("/v1///west/jobs/1")
        if kind == "nginx that removes the prefix":
            assert answer.status_code == 400
            assert "write -/backends/west/..." in answer.json()["error"]["message"]
        else:
            assert answer.json() == {"name": "//west/jobs/1", "done": False}


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_mcp_streams_progress_behind_a_proxy(kind: str, mode: str, tmp_path: Path) -> None:
    """The operation ends after its first progress, so progress that waits would never come."""
    async with behind(kind, tmp_path) as (served, ends), served.mcp(mode) as client:

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            del progress, total, message
            ends.set()

        arguments = {"name": "//west/jobs/1", "timeout": "40s"}
        result = await client.call_tool("wait_operation", arguments, progress_callback=on_progress)
        assert result.structured_content == {"name": "//west/jobs/1", "done": True}


@pytest.mark.parametrize("kind", PROXIES)
async def test_a_client_cannot_choose_the_host_or_the_prefix_by_a_header(
    kind: str, tmp_path: Path
) -> None:
    """The configurations replace the headers of clients."""
    forged = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Prefix": "/evil"}
    async with behind(kind, tmp_path) as (served, _ends), served.rest() as client:
        answer = await client.get("/openapi.json", headers=forged)
        assert answer.json()["servers"] == [{"url": "/lro"}]


async def test_a_proxy_names_the_caller_and_replaces_the_headers_of_clients(
    tmp_path: Path,
) -> None:
    """The configuration of docs/security.md. Who comes past the proxy has no name."""
    named = {"X-Forwarded-User": "root", "X-Forwarded-Groups": "admins"}
    auth = {
        "addresses": ["127.0.0.1"],
        "subject": "X-Forwarded-User",
        "groups": "X-Forwarded-Groups",
    }
    trusted = ["127.0.0.1"]
    async with (
        noting({"proxy": auth}, trusted_proxies=trusted, allowed_hosts=["gateway.test"]) as (
            http_server,
            seen,
        ),
        running(IDENTIFYING, tmp_path, http_server.address) as served,
        served.rest() as client,
    ):
        assert (await client.get("/v1/jobs/1", headers=named)).status_code == 401
        basic = httpx.BasicAuth("ana", "secret")
        assert (await client.get("/v1/jobs/1", headers=named, auth=basic)).status_code == 200
        assert [(each.subject, each.groups) for each in seen] == [("ana", frozenset())]
