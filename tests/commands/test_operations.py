"""`lro-gateway operations`: what a person sees, what a script reads, and the exit statuses."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio
import httpx
import pytest
import yaml

from lro_gateway.demo.databases import damage
from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from lro_gateway.records.location import Location
from tests.commands.stage import COMMAND, Stage, staged
from tests.commands.test_cli import run
from tests.demo.client import Client
from tests.gateways import serving

pytestmark = pytest.mark.anyio

NAME = r"databases/{}/operations/[0-9a-f]{{32}}"


async def test_a_list_has_a_line_for_each_operation(stage: Stage) -> None:
    """In a pipe each operation is on one line, and there is nothing else but the titles."""
    await stage.client.create("orders")
    async with stage.gate:
        await stage.client.begin("archive")
        listed = await stage.run("operations", "list")
    titles, running, done = listed.stdout.splitlines()
    assert (listed.status, listed.stderr) == (0, "")
    assert titles.split() == ["NAME", "METHOD", "STATE", "DONE", "AGE", "CHANGED"]
    assert re.fullmatch(
        rf"{NAME.format('archive')}  CreateDatabase  running +\d+%  +\d+ (?:s|min) +-", running
    )
    assert re.fullmatch(
        rf"{NAME.format('orders')}   CreateDatabase  succeeded  100%"
        r"  +\d+ (?:s|min)  +\d+ (?:s|min) ago",
        done,
    )


async def test_a_narrow_terminal_shows_short_names_that_the_commands_take(stage: Stage) -> None:
    """At 80 columns each operation has one line. Its id is enough to name it."""
    await stage.client.create("orders")
    listed = await stage.type("operations", "list", columns=80)
    titles, line = listed.text.splitlines()
    assert titles.split()[:2] == ["ID", "RESOURCE"]
    assert len(line) <= 80
    described = await stage.run(
        "operations", "describe", line.split()[0], "--format", "value(name)"
    )
    assert re.fullmatch(NAME.format("orders"), described.stdout.strip())


async def test_each_state_has_its_colour_unless_no_color_is_set(
    stage: Stage, tmp_path: Path
) -> None:
    """A failed, a cancelled and a succeeded operation have three colours."""
    await stage.client.create("orders")
    damage(tmp_path / "orders.sqlite3")
    await stage.client.check("orders")
    async with stage.gate:
        begun = await stage.client.begin("archive")
        await stage.client.cancel(begun)
    await stage.client.end(begun)
    coloured = await stage.type("operations", "list", columns=120)
    for code, state in ((32, "succeeded"), (31, "failed"), (33, "cancelled")):
        assert f"\x1b[{code}m{state}" in coloured.stdout
    plain = await stage.type("operations", "list", columns=120, NO_COLOR="1")
    assert re.search(r"\x1b\[3\d", plain.stdout) is None


async def test_a_list_selects_by_state_method_backend_and_age(stage: Stage, tmp_path: Path) -> None:
    """The gateway selects a state, and the command selects what no backend can."""
    created = await stage.client.create("orders")
    damage(tmp_path / "orders.sqlite3")
    checked = await stage.client.check("orders")

    async def names(*options: str) -> list[str]:
        form = ("--format", "value(name)")
        listed = await stage.run("operations", "list", *options, *form)
        assert listed.status == 0
        return listed.stdout.split()

    assert await names("--state", "failed") == [checked.name]
    assert await names("--state", "FAILED") == [checked.name]
    for pattern in ("create*", "create_database", "DatabaseAdmin.CreateDatabase", "*/Create*"):
        assert await names("--method", pattern) == [created.name]
    assert await names("--method", "BackupDatabase") == []
    assert await names("--backend", "demo") == [checked.name, created.name]
    assert await names("--since", "1h") == [checked.name, created.name]
    assert await names("--since", "0s") == []
    assert await names("--limit", "1") == [checked.name]


async def test_a_command_keeps_to_the_backend_that_is_named(tmp_path: Path) -> None:
    """Also for short names, and the newest of several backends is the first of a short list."""
    async with AsyncExitStack() as stack:
        demos = {
            name: await stack.enter_async_context(DemoServer.open(tmp_path / name))
            for name in ("east", "west")
        }
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(each.target))
            for each in demos.values()
        ]
        clients = [Client(channel) for channel in channels]
        begun = [await each.create("orders") for each in clients]
        backends = [{"name": name, "target": each.target} for name, each in demos.items()]
        url = await stack.enter_async_context(serving(*backends))
        stage = Stage(Gate(), clients[0], url, "")
        newest = await stage.run("operations", "list", "--limit", "1", "--format", "value(name)")
        assert newest.stdout == f"//west/{begun[1].name}\n"
        short = begun[0].name.rpartition("/")[2]
        for name in (begun[0].name, f"//east/{begun[0].name}", short):
            for verb in ("describe", "wait", "tail", "cancel"):
                ended = await stage.run("operations", verb, name, "--backend", "east")
                assert ended.status == 0, (verb, name, ended.stderr)
        for name in (f"//east/{begun[0].name}", short):
            for verb in ("describe", "wait", "tail", "cancel", "delete"):
                ended = await stage.run("operations", verb, name, "--backend", "west")
                assert ended.status == 2, (verb, name, ended.stdout)
        ambiguous = await stage.run("operations", "describe", begun[0].name)
        assert "--backend NAME" in ambiguous.stderr


async def test_an_empty_name_is_an_error_also_for_the_only_operation(stage: Stage) -> None:
    """A variable of a script may be empty, and must not cancel what happens to be the only one."""
    created = await stage.client.create("orders")
    for verb in ("wait", "describe", "tail", "cancel", "delete"):
        for empty in ("", " "):
            ended = await stage.run("operations", verb, empty)
            assert (ended.status, ended.stdout) == (2, ""), verb
            assert "the name is empty" in ended.stderr
    assert (await stage.run("operations", "describe", created.name)).status == 0


async def test_a_command_whose_reader_has_gone_does_not_claim_a_success(stage: Stage) -> None:
    """`wait` and `tail` tell by the status how an operation has ended, so 0 would be a lie."""
    name = (await stage.client.create("orders")).name
    for arguments, status in (
        (("operations", "wait", name), 141),
        (("operations", "tail", name), 141),
        (("operations", "list"), 0),
        (("operations", "describe", name), 0),
        (("call", "CreateDatabase"), 2),
    ):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            process = await asyncio.create_subprocess_exec(
                *(COMMAND, *arguments),
                env={**os.environ, "LRO_GATEWAY_URL": stage.url},
                stdout=writer,
                stderr=asyncio.subprocess.PIPE,
            )
        finally:
            os.close(writer)
        _, errors = await process.communicate()
        assert process.returncode == status, (arguments, errors)
        assert b"Traceback" not in errors
        assert b"error occurred" not in errors


async def test_a_list_of_a_method_that_does_not_exist_is_an_error(stage: Stage) -> None:
    """A mistyped method would otherwise look as if nothing ran."""
    await stage.client.create("orders")
    wrong = await stage.run("operations", "list", "--method", "CraeteDatabase")
    assert (wrong.status, wrong.stdout) == (2, "")
    assert "no method matches 'CraeteDatabase'; there are: CreateDatabase" in wrong.stderr


@pytest.mark.parametrize("form", ["json", "yaml", "value(name,summary.state,done)"])
async def test_a_format_gives_programs_the_same_operations(stage: Stage, form: str) -> None:
    """Each format has the whole names and the same states."""
    created = await stage.client.create("orders")
    listed = await stage.run("operations", "list", "--format", form)
    expected = [(created.name, "succeeded", True)]
    if form == "json":
        found = [(o["name"], o["summary"]["state"], o["done"]) for o in json.loads(listed.stdout)]
    elif form == "yaml":
        read = yaml.safe_load(listed.stdout)
        found = [(o["name"], o["summary"]["state"], o["done"]) for o in read]
    else:
        name, state, done = listed.stdout.removesuffix("\n").split("\t")
        found = [(name, state, done == "true")]
    assert found == expected


async def test_a_failed_operation_is_described_with_its_error(stage: Stage, tmp_path: Path) -> None:
    """The details are readable, and the times are in order."""
    await stage.client.create("orders")
    damage(tmp_path / "orders.sqlite3")
    checked = await stage.client.check("orders")
    described = await stage.type("operations", "describe", checked.name, columns=120)
    text = described.text
    assert described.status == 0
    for line in (
        rf"Operation +{checked.name}",
        r"Method +CheckDatabase",
        r"State +failed after \d+ (?:s|min)",
        r"Progress +[━╸╺]+ +\d+%",
        r"  DATA_LOSS: database 'databases/orders' is damaged",
        r"  Reason: DATABASE_DAMAGED \(demo\.lro-gateway\.dev\)",
        r"  DamageReport:",
        r"  progressPercent: \d+",
    ):
        assert re.search(rf"(?m)^{line}", text), line
    assert re.findall(r"ago +(.*? time)", text) == ["create time", "end time"]
    raw = await stage.run("operations", "describe", checked.name, "--raw")
    assert json.loads(raw.stdout).keys() == {"name", "metadata", "done", "error"}


async def test_wait_prints_the_ends_and_its_status_tells_them(stage: Stage, tmp_path: Path) -> None:
    """0 means that all succeeded, 1 that one failed, and 3 that one was cancelled."""
    created = await stage.client.create("orders")
    damage(tmp_path / "orders.sqlite3")
    checked = await stage.client.check("orders")
    async with stage.gate:
        cancelled = await stage.client.begin("archive")
        await stage.client.cancel(cancelled)
    await stage.client.end(cancelled)
    succeeded = await stage.run("operations", "wait", created.name)
    assert succeeded.status == 0
    assert succeeded.stdout.startswith(f"{created.name} succeeded\n  '@type': ")
    both = await stage.run("operations", "wait", created.name, cancelled.name)
    assert (both.status, both.stderr) == (3, "")
    failed = await stage.run("operations", "wait", cancelled.name, checked.name, "--all")
    assert failed.status == 1
    assert f"{checked.name} failed DATA_LOSS: " in failed.stdout


async def test_wait_any_ends_with_the_first_and_a_timeout_has_a_status(stage: Stage) -> None:
    """An operation that runs does not hold up `--any`. Alone, it makes the wait time out."""
    created = await stage.client.create("orders")
    async with stage.gate:
        running = await stage.client.begin("archive")
        first = await stage.run(
            "operations", "wait", running.name, created.name, "--any", "--format", "value(name)"
        )
        late = await stage.run("operations", "wait", running.name, "--timeout", "0.2s")
    assert (first.status, first.stdout) == (0, f"{created.name}\n")
    assert (late.status, late.stdout) == (124, "")
    assert late.stderr == f"lro-gateway: not done after 0.2s: {running.name}\n"


async def test_a_time_out_names_only_what_is_not_done(stage: Stage) -> None:
    """So a wait of no time is a look, and a script may take its word."""
    created = await stage.client.create("archive")
    values = ("--format", "value(name)")
    look = await stage.run("operations", "wait", created.name, "--timeout", "0s", *values)
    assert (look.status, look.stdout) == (0, f"{created.name}\n")
    async with stage.gate:
        running = await stage.client.begin("orders")
        both = ("operations", "wait", created.name, running.name, "--timeout", "0.2s")
        late = await stage.run(*both)
        assert (late.status, late.stdout) == (124, "")
        assert late.stderr == f"lro-gateway: not done after 0.2s: {running.name}\n"
        often = await stage.run(*both, "--report-every", "0s")
    assert (often.status, often.stdout) == (2, "")
    assert "--report-every needs 0.1s or more, not 0s" in often.stderr


async def test_wait_tells_from_time_to_time_that_it_goes_on(stage: Stage) -> None:
    """A command that prints nothing may be killed, so a line goes to stderr."""
    async with stage.gate:
        running = await stage.client.begin("orders")
        waiting = await stage.start("operations", "wait", running.name, "--report-every", "0.2s")
        assert waiting.stderr is not None
        line = ""
        async with asyncio.timeout(60):
            while "running" not in line:
                line = (await waiting.stderr.readline()).decode()
    assert line.startswith(f"{running.name} running 0%")
    _, _ = await waiting.communicate()
    assert waiting.returncode == 0


async def test_wait_draws_a_bar_in_a_terminal(stage: Stage) -> None:
    """The bar stays with the end of the operation. A narrow terminal has a short name before it."""
    created = await stage.client.create("orders")
    shown = await stage.type("operations", "wait", created.name, columns=120)
    assert shown.status == 0
    assert re.search(rf"{created.name} ━{{20}} 100% succeeded after \d+ (?:s|min)", shown.text)
    narrow = await stage.type("operations", "wait", created.name, columns=60)
    begin = created.name.rpartition("/")[2][:8]
    bar = next(line for line in narrow.text.splitlines() if "━" in line)
    assert re.match(rf"CreateDatabase {begin}\w+… ━{{10}} 100% succeeded *$", bar)
    assert len(bar) == 60


async def test_tail_prints_each_change_until_the_end(stage: Stage) -> None:
    """The last line has the end. With JSON each line is a whole operation."""
    async with stage.gate:
        begun = await stage.client.begin("orders")
        tail = await stage.start("operations", "tail", begun.name, "--format", "json")
        assert tail.stdout is not None
        first = json.loads(await tail.stdout.readline())
    rest, _ = await tail.communicate()
    last = json.loads(rest.splitlines()[-1])
    assert (first["done"], last["done"], tail.returncode) == (False, True, 0)
    lines = await stage.run("operations", "tail", begun.name)
    assert re.fullmatch(r"[\d-]+ [\d:]+  100%  succeeded.*\n", lines.stdout)


async def test_cancel_waits_for_the_end_if_asked(stage: Stage) -> None:
    """Without --wait the command ends at once, because a backend may not succeed."""
    async with stage.gate:
        begun = await stage.client.begin("orders")
        requested = await stage.run("operations", "cancel", begun.name)
    ended = await stage.run("operations", "cancel", "--wait", begun.name)
    assert (requested.status, requested.stdout) == (0, "")
    assert requested.stderr == f"cancellation requested: {begun.name}\n"
    assert (ended.status, ended.stdout.split()[:2]) == (3, [begun.name, "cancelled"])
    late = await stage.run("operations", "cancel", begun.name)
    told = f"nothing to cancel: {begun.name} has been cancelled already\n"
    assert (late.status, late.stderr) == (0, told)


async def test_delete_removes_the_record(stage: Stage) -> None:
    """After that the operation is unknown, and the message names it."""
    created = await stage.client.create("orders")
    assert (await stage.run("operations", "delete", created.name)).status == 0
    unknown = await stage.run("operations", "describe", created.name)
    assert (unknown.status, unknown.stdout) == (2, "")
    assert unknown.stderr.splitlines() == [
        f"lro-gateway: NOT_FOUND: operation '{created.name}' does not exist",
        "  Reason: OPERATION_NOT_FOUND (demo.lro-gateway.dev)",
        f"    name: {created.name}",
    ]


async def test_a_list_is_drawn_again_until_ctrl_c(stage: Stage) -> None:
    """`--watch` shows later operations and changes, and ends with the status of SIGINT."""
    async with (
        stage.gate,
        stage.terminal("operations", "list", "--watch", columns=130, NO_COLOR="1") as terminal,
    ):
        running = await stage.client.begin("orders", 10_000)
        await terminal.until(rf"{running.name}  CreateDatabase  running +0% +\d")
        stage.gate.admit(5)
        await stage.gate.arrival()
        later = await stage.client.begin("archive")
        await terminal.until(rf"{running.name} +CreateDatabase  running .* \d+ (?:s|min) ago")
        await terminal.until(later.name)
        terminal.process.send_signal(signal.SIGINT)
        assert (await terminal.end()).status == 130


async def test_a_list_that_is_watched_into_a_file_is_whole(stage: Stage) -> None:
    """It has the width of a pipe, and a list only when something has changed."""
    name = (
        await stage.client.create("a-database-whose-name-is-longer-than-a-narrow-terminal")
    ).name
    process = await stage.start("operations", "list", "--watch", COLUMNS="40")
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(2)]
    assert (lines[0].split(), lines[1].split()[0]) == (
        ["NAME", "METHOD", "STATE", "DONE", "AGE", "CHANGED"],
        name,
    )
    later = await stage.client.create("later")
    states: dict[str, str] = {}
    # A list may have been read while the operation was running. Then there is one more.
    while states.get(later.name) != "succeeded":
        lines = [(await process.stdout.readline()).decode() for _ in range(4)]
        assert lines[0] == "\n"
        states = {line.split()[0]: line.split()[2] for line in lines[2:]}
        assert states.keys() == {name, later.name}
    process.send_signal(signal.SIGINT)
    assert await process.stdout.read() == b""
    assert await process.wait() == 130


async def test_the_mistakes_of_a_person_end_with_2_and_say_what_to_do(stage: Stage) -> None:
    """Each message names the mistake, and what is right."""
    for arguments, said in (
        (("list", "--state", "done"), "there is no state 'done'; use one of running, succeeded"),
        (("list", "--format", "xml"), "there is no format 'xml'; use table, json, yaml or value("),
        (("list", "--since", "soon"), "'soon' is no duration; write one such as 30s, 5m or 1h30m"),
        (("wait", "x", "--any", "--all"), "pass --any or --all, and not both"),
        (("describe", "nothing"), "no operation here has the name 'nothing'. A name is the whole"),
        (("list", "--backend", "nobody"), "INVALID_ARGUMENT: "),
    ):
        ended = await stage.run("operations", *arguments)
        assert (ended.status, ended.stdout) == (2, ""), arguments
        assert ended.stderr.startswith(f"lro-gateway: {said}"), ended.stderr


async def test_a_short_name_of_several_operations_is_refused_with_their_names(stage: Stage) -> None:
    """The first digit of an id is not enough if another id begins or ends with it."""
    names: list[str] = []
    while len({name[-32] for name in names} | {name[-1] for name in names}) == 2 * len(names):
        names.append((await stage.client.create(f"d{len(names)}", 0)).name)
    ends = {name: {name[-32], name[-1]} for name in names}
    digit = next(d for d in "0123456789abcdef" if sum(d in each for each in ends.values()) > 1)
    refused = await stage.run("operations", "describe", digit)
    assert refused.status == 2
    assert all(name in refused.stderr for name in names if digit in ends[name])


async def test_the_end_of_an_id_names_an_operation_as_its_beginning_does(stage: Stage) -> None:
    """Some services put the time first, so that all ids of a day begin alike."""
    name = (await stage.client.create("orders", 0)).name
    for part in (name[-8:], name[-32:-24]):
        described = await stage.run("operations", "describe", part, "--format", "value(name)")
        assert (described.status, described.stdout) == (0, f"{name}\n")


async def test_the_id_of_a_database_is_no_name_and_the_message_says_what_is(stage: Stage) -> None:
    """A person takes what the list shows under RESOURCE for the name."""
    name = (await stage.client.create("orders", 0)).name
    refused = await stage.run("operations", "describe", "orders")
    assert (refused.status, refused.stdout) == (2, "")
    assert refused.stderr == (
        "lro-gateway: no operation here has the name 'orders'. A name is the whole name, such as"
        f" {name}, or the beginning or the end of its last part, such as {name[-32:-24]}. These"
        f" have 'orders' in their names: {name}\n"
    )


async def test_a_path_that_no_operation_has_is_told_on_stderr(stage: Stage) -> None:
    """The values are empty, and the status stays that of the command."""
    name = (await stage.client.create("orders", 0)).name
    for command in (("list",), ("describe", name), ("wait", name), ("tail", name)):
        ended = await stage.run("operations", *command, "--format", "value(name,summary.nope)")
        assert (ended.status, ended.stdout) == (0, f"{name}\t\n"), command
        assert ended.stderr.startswith("lro-gateway: nothing has 'summary.nope', so its values")


async def test_in_a_pipe_no_line_is_wrapped_or_padded(stage: Stage) -> None:
    """Programs read lines, and a person may look at a file in a wide window."""
    name = (await stage.client.create("orders" * 10, 0)).name
    for command in (("list",), ("describe", name)):
        lines = (await stage.run("operations", *command)).stdout.splitlines()
        assert any(name in line for line in lines)
        assert lines == [line.rstrip() for line in lines]


async def test_what_is_no_gateway_ends_with_4(stage: Stage) -> None:
    """Nothing listens at a port, a server is no gateway, or a backend is down."""
    nothing = await stage.run("operations", "list", LRO_GATEWAY_URL="http://127.0.0.1:9")
    assert (nothing.status, nothing.stdout) == (4, "")
    refused = "lro-gateway: cannot reach http://127.0.0.1:9: Connection refused. "
    assert nothing.stderr.startswith(refused)
    assert "--backend HOST:PORT" in nothing.stderr
    other = await stage.run("operations", "list", LRO_GATEWAY_URL=f"{stage.url}/docs")
    assert other.status in {2, 4}
    assert other.stderr.startswith("lro-gateway: ")


async def test_a_backend_is_asked_without_a_gateway(stage: Stage) -> None:
    """The command opens a gateway of its own, which ends with it."""
    created = await stage.client.create("orders")
    down = {"LRO_GATEWAY_URL": "http://127.0.0.1:9"}
    listed = await stage.run(
        "operations", "list", "--backend", stage.target, "--format", "value(name)", **down
    )
    assert (listed.status, listed.stdout, listed.stderr) == (0, f"{created.name}\n", "")


async def test_a_token_goes_with_each_request(stage: Stage, tmp_path: Path) -> None:
    """A file with a token that cannot be read is a mistake."""
    ended = await stage.run("operations", "list", "--token-file", str(tmp_path / "none"))
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("lro-gateway: cannot read the token file: ")


async def test_the_keyring_has_the_token_of_a_gateway(stage: Stage, tmp_path: Path) -> None:
    """It is asked for the token of the gateway's URL, which then goes with the request."""
    (tmp_path / "kept.py").write_text(
        "from keyring.backend import KeyringBackend\n"
        "class Keyring(KeyringBackend):\n"
        "    priority = 1\n"
        "    def get_password(self, service, username):\n"
        "        return f'{service}+{username}' if '127' in username else None\n"
        "    set_password = None\n"
    )
    keyring = {"PYTHONPATH": str(tmp_path), "PYTHON_KEYRING_BACKEND": "kept.Keyring"}
    received: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n" + b'{"operations":[]}')
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        url = f"http://{host}:{port}"
        known = await stage.run("operations", "list", "--keyring", "--gateway", url, **keyring)
    assert (known.status, known.stderr) == (0, "no operations\n")
    assert f"authorization: Bearer lro-gateway+{url}\r\n" in received[0]
    other = await stage.run(
        "operations", "list", "--keyring", "--gateway", "http://none", **keyring
    )
    assert other.status == 2
    assert other.stderr.endswith(": store one with `keyring set lro-gateway http://none`\n")
    keyring["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    missing = await stage.run("operations", "list", "--keyring", **keyring)
    assert missing.status == 2
    assert missing.stderr.startswith("lro-gateway: the keyring gives no token: No recommended")


async def test_a_call_that_needs_agreement_is_asked_at_the_terminal(tmp_path: Path) -> None:
    """A person answers, and a script passes --yes."""
    async with staged(tmp_path, confirm=["google.longrunning.Operations/Delete*"]) as stage:
        names = [(await stage.client.create(each, 0)).name for each in ("a", "b", "c")]
        refused = await stage.run("operations", "delete", names[0])
        assert (refused.status, "Pass --yes to agree" in refused.stderr) == (2, True)
        assert (await stage.run("operations", "delete", "--yes", names[1])).status == 0
        typed = await stage.type("operations", "delete", names[2], keys="y\n", columns=200)
        assert (typed.status, "Make this call?" in typed.stdout) == (0, True)
        left = await stage.run("operations", "list", "--format", "value(name)")
        assert left.stdout.split() == [names[0]]


async def test_my_operations_are_those_that_i_started(tmp_path: Path) -> None:
    """They are listed although their backend is down. What began elsewhere is not listed."""
    store = Location(tmp_path / "store.sqlite3")
    async with DemoServer.open(tmp_path / "demo") as demo, AsyncExitStack() as stack:
        backend = {"name": "demo", "target": demo.target}
        # A busy machine needs longer than the default for the ends.
        serves = serving(backend, store=store, sync_grace="30s")
        url = await stack.enter_async_context(serves)
        async with httpx.AsyncClient(base_url=url) as client:
            for database in ("orders", "archive"):
                await client.post("/v1/databases", json={"databaseId": database})
            await client.post("/v1/databases/orders:check")
        mine = ("operations", "list", "--mine", "--gateway", url)
        listed = await asyncio.to_thread(run, *mine)
        created = await asyncio.to_thread(run, *mine, "--method", "create*", "--format", "json")
        by_tool = await asyncio.to_thread(
            run, *mine, "--method", "check_database", "--format", "value(method)"
        )
        unknown = await asyncio.to_thread(run, *mine, "--method", "Craete*")
        refused = await asyncio.to_thread(run, *mine, "--filter", "x")
    assert by_tool.stdout == "lro_gateway.demo.v1.DatabaseAdmin/CheckDatabase\n"
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "CreateDatabase" in unknown.stderr
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [line.split()[1] for line in listed.stdout.splitlines()] == [
        *("METHOD", "CheckDatabase", "CreateDatabase", "CreateDatabase"),
    ]
    assert [each["state"] for each in json.loads(created.stdout)] == ["succeeded", "succeeded"]
    assert (refused.returncode, refused.stdout) == (2, "")


async def test_a_backend_can_be_called_although_temporary_files_have_a_long_path(
    stage: Stage, tmp_path: Path
) -> None:
    """The command's own gateway listens at a Unix socket, whose path is short."""
    place = tmp_path / ("long" * 25)
    place.mkdir()
    created = await stage.client.create("orders")
    command = ("operations", "list", "--backend", stage.target, "--format", "value(name)")
    listed = await stage.run(*command, TMPDIR=str(place))
    assert (listed.status, listed.stdout, listed.stderr) == (0, f"{created.name}\n", "")
