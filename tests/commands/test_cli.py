"""The command line: what it refuses before anything listens, where it serves, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lro_gateway.config.models import ServerConfig
from lro_gateway.serving.app import VERSION

COMMAND = str(Path(sys.executable).parent / "lro-gateway")
BACKEND = ("--backend", "down=127.0.0.1:1")
"""A backend that is never up: for these tests none has to be."""


def run(*arguments: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused(*arguments: str, directory: Path | None = None) -> list[str]:
    """Run the command, which has to fail with status 2; return what it says, line by line.

    But for the warning of a gateway without a key, which is of another matter.
    """
    ended = run(*arguments, directory=directory)
    assert ended.returncode == 2
    assert ended.stdout == ""
    said = [line.removeprefix("lro-gateway: ") for line in ended.stderr.splitlines()]
    return [line for line in said if "server.keys has no key" not in line]


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `lro-gateway serve`; yields the process, and where it says that it serves."""
    with subprocess.Popen(
        [COMMAND, "serve", *BACKEND, *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"REST (http://\S+)/v1, MCP \1/mcp", line):
                    yield process, found[1]
                    break
            else:
                pytest.fail("it ended without saying where it serves")
        finally:
            process.kill()


@contextmanager
def taken_port() -> Iterator[int]:
    """Listen at a port of loopback; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_it_says_its_version() -> None:
    """`--version` prints the version and nothing else."""
    ended = run("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{VERSION}\n", "")


def test_help_tells_the_defaults() -> None:
    """What stands in brackets is not taken for markup."""
    said = run("serve", "--help").stdout
    assert "[default: 127.0.0.1]" in said
    assert "[default: 8080]" in said


def test_a_backend_is_needed() -> None:
    """Without a backend there is nothing to serve, and the message says how to give one."""
    said = refused("serve")
    assert said == ["no backend is configured: give --backend HOST:PORT or --config FILE"]


def test_every_mistake_is_told_at_once_before_anything_listens(tmp_path: Path) -> None:
    """A bad file and a bad option: each mistake with its place, and no word on the taken port."""
    (tmp_path / "bad.toml").write_text(
        """
        [server]
        prot = 8080

        [[backends]]
        name = "builds"
        target = "127.0.0.1:1"
        deadline = 10
        tls = { ca = "missing.pem" }
        """
    )
    with taken_port() as port:
        arguments = ("--config", "bad.toml", "--backend", "builds=", "--port", str(port))
        said = refused("serve", *arguments, directory=tmp_path)
    places = [
        "bad.toml: server.prot: there is no such key",
        'bad.toml: backends[0].deadline: a duration in seconds is needed, such as "10s" or "0.5s"',
        "bad.toml: backends[0].tls.ca: there is no file missing.pem",
        "--backend builds=: target: ",
        "--backend builds=: the name 'builds' is taken by bad.toml: backends[0]",
    ]
    assert [place for place, line in zip(places, said, strict=True) if line.startswith(place)] == (
        places
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "gateway.toml: cannot be read: No such file or directory"),
        ("[server", "gateway.toml: is not TOML: "),
    ],
    ids=["missing", "not TOML"],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    """A missing file and one that is not TOML are mistakes like others."""
    if content is not None:
        (tmp_path / "gateway.toml").write_text(content)
    (line,) = refused("serve", "--config", "gateway.toml", directory=tmp_path)
    assert line.startswith(said)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])  # noqa: S104 - it is refused
def test_it_does_not_listen_beyond_loopback_unasked(host: str) -> None:
    """An address that others can reach is refused, with why and what to say."""
    (said,) = refused("serve", *BACKEND, "--host", host)
    assert said == (
        f"{host} can be reached from other machines, and callers are not identified: anyone could"
        " cancel and delete operations. Say --allow-anonymous to serve there all the same"
    )


def test_the_file_is_held_to_loopback_as_well(tmp_path: Path) -> None:
    """Where the address is written makes no difference."""
    (tmp_path / "gateway.toml").write_text('[server]\nhost = "192.0.2.1"\n')
    arguments = ("--config", "gateway.toml", *BACKEND)
    (said,) = refused("serve", *arguments, directory=tmp_path)
    assert "Say --allow-anonymous" in said


def test_allow_anonymous_lets_it_listen_beyond_loopback() -> None:
    """With the flag it tries to, which at an address that no machine has cannot succeed."""
    (said,) = refused("serve", *BACKEND, "--host", "192.0.2.1", "--port", "0", "--allow-anonymous")
    assert said == "cannot listen at 192.0.2.1:0: Cannot assign requested address"


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - it is not listened at
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_what_counts_as_loopback(host: str, *, is_loopback: bool) -> None:
    """Only addresses that no other machine reaches, and localhost; other names may be anything."""
    assert ServerConfig(host=host).is_loopback is is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_port_0_picks_a_port_of_loopback_and_says_which(host: str) -> None:
    """It answers at the address that it prints."""
    with serving("--host", host, "--port", "0") as (_, url):
        assert httpx.get(f"{url}/livez").json() == {"status": "ok"}


def test_a_port_that_is_taken_is_told() -> None:
    """The message has the address, the exit status is 2."""
    with taken_port() as port:
        said = refused("serve", *BACKEND, "--port", str(port))
    assert said == [f"cannot listen at 127.0.0.1:{port}: Address already in use"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end it with status 0, from the moment that it says where it serves."""
    with serving("--port", "0") as (process, _):
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Traceback" not in said


def test_stdio_prints_nothing_but_protocol() -> None:
    """Each line of stdout is JSON-RPC, whatever is logged; the end of stdin ends it with 0."""
    initialize = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    }
    call = {"name": "get_operation", "arguments": {"name": "a/operations/b"}}
    requests: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": initialize},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
        {"id": 3, "method": "tools/call", "params": call},
    ]
    with subprocess.Popen(
        [COMMAND, "serve", *BACKEND, "--stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for request in requests:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **request}) + "\n")
        answers = [json.loads(process.stdout.readline()) for _ in range(3)]
        rest, log = process.communicate(timeout=30)
    assert sorted(answer["id"] for answer in answers) == [1, 2, 3]
    assert {answer["jsonrpc"] for answer in answers} == {"2.0"}
    assert rest == ""
    assert "backend down is not serving yet" in log
    assert process.returncode == 0


def test_ctrl_c_ends_stdio_while_its_client_waits() -> None:
    """At a terminal nobody closes stdin: Ctrl-C has to do."""
    reader, writer = os.pipe()
    with subprocess.Popen(
        [COMMAND, "serve", *BACKEND, "--stdio"], stdin=reader, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "server.keys has no key" in process.stderr.readline()
        assert "is not serving yet" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    os.close(reader)
    os.close(writer)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in said
