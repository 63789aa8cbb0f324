"""Operations whose names, times and texts no service should send, as a person meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import struct_pb2
from google.protobuf.empty_pb2 import Empty

from lro_gateway.demo.pace import Gate
from tests.commands.stage import Ended, Stage
from tests.contrary import ContraryBackend
from tests.gateways import serving

pytestmark = pytest.mark.anyio

HOSTILE: Final = "jobs/1/operations/a\x1b]0;t\x07b"
GO_ZERO: Final = "0001-01-01T00:00:00Z"


def running(name: str, **fields: str) -> Any:
    """Return an operation that runs, whose metadata has some fields."""
    started = operations_pb2.Operation(name=name)
    metadata = struct_pb2.Struct()
    metadata.update(fields)
    started.metadata.Pack(metadata)
    return started


class Odd:
    """The commands on a backend with some operations, and the backend itself."""

    def __init__(self, stage: Stage, backend: ContraryBackend) -> None:
        self.stage = stage
        self.backend = backend

    async def run(self, *arguments: str, **variables: str) -> Ended:
        """Run `lro-gateway operations` with pipes."""
        return await self.stage.run("operations", *arguments, **variables)


@asynccontextmanager
async def odd(*operations: Any, lists: bool = True) -> AsyncIterator[Odd]:
    """Serve a gateway to a backend with these operations, which may have no lists."""
    known = {each.name: each for each in operations}

    async def get(request: Any, context: Any) -> Any:
        if request.name not in known:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such operation")
        return known[request.name]

    async def list_(_request: Any, _context: Any) -> Any:
        return operations_pb2.ListOperationsResponse(operations=known.values())

    async def cancel(_request: Any, _context: Any) -> Any:
        return Empty()

    handlers: dict[str, Any] = {"GetOperation": get, "CancelOperation": cancel}
    if lists:
        handlers["ListOperations"] = list_
    async with (
        ContraryBackend.open(handlers) as backend,
        serving({"name": "odd", "target": backend.target}) as url,
    ):
        no_client: Any = None
        yield Odd(Stage(Gate(), no_client, url, backend.target), backend)


@pytest.mark.parametrize("name", ["lros/abc123", "plain", "jobs/7", "jobs/1/operations/x y"])
async def test_a_whole_name_of_any_form_is_a_name(name: str) -> None:
    """Not every service has `operations` in its names. The name of a list can be copied."""
    async with odd(running(name), running("jobs/1/operations/other")) as commands:
        described = await commands.run("describe", name, "--format", "value(name)")
    assert (described.status, described.stdout) == (0, f"{name}\n"), described.stderr


async def test_a_whole_name_needs_no_list() -> None:
    """A service need not have lists, and an operation need not be in one."""
    async with odd(running("lros/abc123"), lists=False) as commands:
        described = await commands.run("describe", "lros/abc123", "--format", "value(name)")
        missing = await commands.run("describe", "lros/abc124")
    assert (described.status, described.stdout) == (0, "lros/abc123\n"), described.stderr
    assert (missing.status, missing.stdout) == (2, "")
    assert missing.stderr.startswith("lro-gateway: NOT_FOUND: ")


async def test_a_name_is_taken_as_it_is_shown() -> None:
    """A name with characters that change a terminal is shown with escapes, and copied so."""
    async with odd(running(HOSTILE)) as commands:
        listed = await commands.run("list")
        shown = listed.stdout.splitlines()[1].split()[0]
        found = [
            await commands.run("describe", given, "--format", "json")
            for given in (r"a\x1b", shown.rpartition("/")[2], shown)
        ]
    assert [each.status for each in found] == [0, 0, 0], found
    assert "\x1b" not in listed.stdout


@pytest.mark.parametrize("form", ["value(name,metadata.value.note)", "yaml", "json"])
async def test_no_format_sends_controls_to_a_terminal(form: str) -> None:
    """A pipe gets the value as it is."""
    note = "\x1b[2J\x9b5m\u202ex"
    async with odd(running(HOSTILE, note=note)) as commands:
        typed = await commands.stage.type("operations", "list", "--format", form)
        tailed = await commands.stage.type(
            *("operations", "tail", f"//odd/{HOSTILE}", "--timeout", "0.5s", "--format", form),
            NO_COLOR="1",
        )
        piped = await commands.run("list", "--format", form)
    for ended, status in ((typed, 0), (tailed, 124)):
        assert ended.status == status
        assert not {"\x1b]", "\x07", "\x1b[2J", "\x9b", "\u202e"} & set(ended.stdout), ended
        assert "\x1b]0" not in ended.stdout
        assert "\x1b[2J" not in ended.stdout
    if form.startswith("value"):
        assert piped.stdout.endswith(f"\t{note}\n")


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
async def test_a_time_that_was_never_set_does_not_end_a_description(zone: str) -> None:
    """Go's zero time has no time in the zones to the west."""
    times = {"createTime": GO_ZERO, "endTime": "9999-12-31T23:59:59Z"}
    async with odd(running("operations/1", **times)) as commands:
        described = await commands.run("describe", "operations/1", TZ=zone)
    assert described.status == 0, described.stderr
    assert GO_ZERO in described.stdout


async def test_a_wrong_duration_is_told_before_anything_is_changed() -> None:
    """A script would believe that nothing was cancelled."""
    async with odd(running("operations/1")) as commands:
        for wrong in (("--timeout", "soon"), ("--report-every", "0")):
            refused = await commands.run("cancel", "operations/1", "--wait", *wrong)
            assert refused.status == 2, refused
        assert commands.backend.count("CancelOperation") == 0


async def test_an_empty_backend_is_a_mistake() -> None:
    """A variable of a script may be empty, and the command would ask all backends."""
    async with odd(running("operations/1")) as commands:
        refused = await commands.run("cancel", "operations/1", "--backend", "")
        assert refused.status == 2
        assert refused.stderr.startswith("lro-gateway: --backend is empty; ")
        assert commands.backend.count("CancelOperation") == 0


async def test_the_timeout_holds_for_the_look_up_of_a_name() -> None:
    """A gateway that does not answer is not waited for longer."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    held = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with held:
        port = held.sockets[0].getsockname()[1]
        no_client: Any = None
        stage = Stage(Gate(), no_client, f"http://127.0.0.1:{port}", "")
        for command in ("wait", "tail"):
            ended = await stage.run("operations", command, "9f1c", "--timeout", "0.5s")
            assert (ended.status, ended.stdout) == (124, "")
            assert ended.stderr == "lro-gateway: not done after 0.5s: 9f1c\n"
