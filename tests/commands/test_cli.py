"""The command line: the mistakes that it refuses, the address that it serves, and its end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from lro_gateway import __version__
from lro_gateway.commands.cli import app
from lro_gateway.config.models import ServerConfig

COMMAND = str(Path(sys.executable).parent / "lro-gateway")
BACKEND = ("--backend", "down=127.0.0.1:1")
"""A backend that is never up, because these tests need none."""


def run(*arguments: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def refused(*arguments: str, directory: Path | None = None) -> list[str]:
    """Invoke the command in this process; it must refuse its arguments. Return its messages."""
    with chdir(directory or Path()):
        ended = CliRunner().invoke(app, arguments)
    assert (ended.exit_code, ended.stdout) == (2, "")
    return [line.removeprefix("lro-gateway: ") for line in ended.stderr.splitlines()]


def failed(*arguments: str, directory: Path | None = None) -> list[str]:
    """Run the command, which must fail with status 2 when it begins to serve.

    Returns the lines of its stderr without the warning about a gateway without a key.
    """
    ended = run(*arguments, directory=directory)
    assert (ended.returncode, ended.stdout) == (2, "")
    lines = [line.removeprefix("lro-gateway: ") for line in ended.stderr.splitlines()]
    return [line for line in lines if "server.keys has no key" not in line]


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `lro-gateway serve`; yield the process and the URL that it prints."""
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
                pytest.fail("the command ended before it printed its address")
        finally:
            process.kill()


def taken(port: int) -> str:
    """Return the message about a port of loopback that another program uses."""
    return (
        f"cannot listen at 127.0.0.1:{port}: Address already in use; choose another port with"
        " --port, or --port 0 for any free one"
    )


@contextmanager
def taken_port() -> Iterator[int]:
    """Listen at a port of loopback; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_the_version_can_be_printed() -> None:
    """`--version` prints the version and nothing more."""
    ended = run("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{__version__}\n", "")


def test_a_command_that_is_refused_ends_with_status_2() -> None:
    """The other tests of refusals invoke the command without a process."""
    ended = run("serve")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("lro-gateway: no backend is configured")


def test_help_shows_the_defaults() -> None:
    """Text in brackets is not taken for markup."""
    printed = run("serve", "--help").stdout
    assert "[default: 127.0.0.1]" in printed
    assert "[default: 8080]" in printed


def test_a_backend_is_needed() -> None:
    """Without a backend the command fails, and the message names the options that add one."""
    messages = refused("serve")
    assert messages == ["no backend is configured: give --backend HOST:PORT or --config FILE"]
    messages = refused("serve", "--config", os.devnull)
    assert messages == [
        "no backend is configured: give --backend HOST:PORT, or add [[backends]] to /dev/null"
    ]


def test_every_mistake_is_reported_at_once_before_anything_listens(tmp_path: Path) -> None:
    """Each mistake of the file and the option has its location; the taken port is not reported."""
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
        messages = refused("serve", *arguments, directory=tmp_path)
    starts = [
        "bad.toml: server.prot: there is no such key",
        'bad.toml: backends[0].deadline: the unit is missing: write "10s" for seconds',
        "bad.toml: backends[0].tls.ca: there is no file missing.pem",
        "--backend builds=: target: ",
        "--backend builds=: the name 'builds' is taken by bad.toml: backends[0]",
    ]
    assert [
        start for start, line in zip(starts, messages, strict=True) if line.startswith(start)
    ] == starts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "gateway.toml: cannot be read: No such file or directory"),
        ("[server", "gateway.toml: is not TOML: "),
    ],
    ids=["missing", "not TOML"],
)
def test_a_file_that_cannot_be_read_is_reported(
    tmp_path: Path, content: str | None, message: str
) -> None:
    """The file is missing or is not TOML."""
    if content is not None:
        (tmp_path / "gateway.toml").write_text(content)
    (line,) = refused("serve", "--config", "gateway.toml", directory=tmp_path)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("localhost:80", "is not an address alone; the port is a setting of its own"),
        ("http://localhost", "is not an address alone; the port is a setting of its own"),
        ("*", "is neither an address nor a host name"),
    ],
)
def test_a_host_that_is_no_address_is_refused(host: str, text: str) -> None:
    """The message names the option."""
    (message,) = refused("serve", *BACKEND, "--host", host)
    assert message.startswith(f"--host: {host!r} {text}")


def test_a_message_has_the_texts_of_its_options_unchanged() -> None:
    """A terminal may show `:x:` as an emoji, and text in brackets as a style."""
    (message,) = refused("serve", "--backend", "unix://:x:[red]")
    assert message == (
        '--backend unix://:x:[red]: target: write one slash or three, as in "unix:/:x:[red]"'
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])  # noqa: S104 - the command refuses it
def test_an_address_beyond_loopback_is_refused_by_default(host: str) -> None:
    """The message has the reason, and the option that allows the address."""
    (message,) = refused("serve", *BACKEND, "--host", host)
    assert message == (
        f"{host} can be reached from other machines, and callers are not identified, so anyone"
        " could cancel and delete operations. Add the table [auth] to the configuration, or pass"
        " --allow-anonymous to serve there anyway"
    )


def test_an_address_of_the_file_beyond_loopback_is_refused_too(tmp_path: Path) -> None:
    """The rule is the same for the file and for the option."""
    (tmp_path / "gateway.toml").write_text('[server]\nhost = "192.0.2.1"\n')
    arguments = ("--config", "gateway.toml", *BACKEND)
    (message,) = refused("serve", *arguments, directory=tmp_path)
    assert "or pass --allow-anonymous" in message


def test_an_address_beyond_loopback_is_no_mistake_if_callers_are_identified(tmp_path: Path) -> None:
    """The command tries to listen. An identity of stdio alone identifies nobody there."""
    (tmp_path / "tokens.toml").touch()
    (tmp_path / "gateway.toml").write_text('[auth]\ntokens = "tokens.toml"\n')
    arguments = ("--config", "gateway.toml", *BACKEND, "--host", "192.0.2.1", "--port", "0")
    (message,) = failed("serve", *arguments, directory=tmp_path)
    assert "cannot listen at 192.0.2.1:0" in message
    (tmp_path / "gateway.toml").write_text('[auth.stdio]\nsubject = "agent"\n')
    (message,) = refused("serve", *arguments, directory=tmp_path)
    assert "callers are not identified" in message


def test_allow_anonymous_permits_an_address_beyond_loopback() -> None:
    """The command tries to listen, and fails because this machine does not have the address."""
    (message,) = failed(
        "serve", *BACKEND, "--host", "192.0.2.1", "--port", "0", "--allow-anonymous"
    )
    assert message == "cannot listen at 192.0.2.1:0: Cannot assign requested address"


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - nothing listens here
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_localhost_and_the_loopback_addresses(host: str, *, is_loopback: bool) -> None:
    """Other host names do not count, because they may name any address."""
    assert ServerConfig(host=host).is_loopback is is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_port_0_picks_a_free_port_and_prints_it(host: str) -> None:
    """The gateway answers at the address that it prints."""
    with serving("--host", host, "--port", "0") as (_, url):
        assert httpx.get(f"{url}/livez").json() == {"status": "ok"}


def test_a_port_that_is_taken_is_reported() -> None:
    """The message has the address, and the exit status is 2."""
    with taken_port() as port:
        messages = failed("serve", *BACKEND, "--port", str(port))
    assert messages == [taken(port)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_cleanly(number: signal.Signals) -> None:
    """SIGINT and SIGTERM end it with status 0 as soon as it has printed its address."""
    with serving("--port", "0") as (process, _):
        process.send_signal(number)
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in log


def test_over_stdio_stdout_has_only_the_protocol() -> None:
    """Each line of stdout is JSON-RPC. The command ends with status 0 when stdin ends."""
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
        rest, log = process.communicate(timeout=60)
    assert sorted(answer["id"] for answer in answers) == [1, 2, 3]
    assert {answer["jsonrpc"] for answer in answers} == {"2.0"}
    assert rest == ""
    assert "backend down is not serving yet" in log
    assert process.returncode == 0


def test_ctrl_c_ends_the_command_over_stdio() -> None:
    """SIGINT ends the process although its stdin stays open."""
    reader, writer = os.pipe()
    with subprocess.Popen(
        [COMMAND, "serve", *BACKEND, "--stdio"], stdin=reader, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert any("MCP on stdin and stdout" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=60)
    os.close(reader)
    os.close(writer)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in log


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "check",
        "call",
        *(
            f"operations {name}"
            for name in ("list", "describe", "wait", "tail", "cancel", "delete")
        ),
    ],
)
def test_the_help_of_a_command_has_examples(command: str) -> None:
    """A person copies one of them. They stand on lines of their own."""
    shown = CliRunner().invoke(app, [*command.split(), "--help"])
    _, _, examples = shown.stdout.partition("\n  Examples:\n")
    assert shown.exit_code == 0
    lines = examples.splitlines()
    assert lines
    assert all(line.startswith(f"    lro-gateway {command} ") for line in lines)


def test_serve_imports_nothing_that_only_other_commands_need() -> None:
    """The demo, the check and the consoles of the terminal would take 3.5 MB of each gateway."""
    code = (
        "import sys, lro_gateway.commands.serving\n"
        "others = {'rich', 'webbrowser', 'lro_gateway.demo', 'lro_gateway.commands.check'}\n"
        "print(others & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
