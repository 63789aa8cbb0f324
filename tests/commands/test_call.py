"""`lro-gateway call`: the names of methods, the ways to give a request, and what is printed."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from lro_gateway.demo.server import DESCRIPTORS
from lro_gateway.records.location import Location
from tests import factory
from tests.commands.stage import COMMAND, Stage, staged
from tests.contrary import ContraryBackend, answering, refusing
from tests.mcp.tool_client import packed
from tests.shapes import message, pool

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "method",
    [
        "CreateDatabase",
        "create_database",
        "DatabaseAdmin.CreateDatabase",
        "lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase",
        "/lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase",
    ],
)
async def test_a_method_is_called_by_each_of_its_names(stage: Stage, method: str) -> None:
    """A person may copy the name from a .proto file, from a log or from a tool."""
    called = await stage.run(
        "call", method, "--field", "databaseId=orders", "--wait", "--format", "value(name,done)"
    )
    assert called.status == 0, called.stderr
    assert re.fullmatch(r"databases/orders/operations/\w+\ttrue\n", called.stdout)


async def test_an_operation_that_runs_is_printed_with_the_next_step(stage: Stage) -> None:
    """The data goes to stdout, and the advice to stderr."""
    async with stage.gate:
        called = await stage.run(
            *("call", "CreateDatabase", "-", "--format", "json", "--field", "rowCount:=5"),
            stdin='{"databaseId": "orders"}',
        )
        name = json.loads(called.stdout)["name"]
        assert called.status == 0
        assert called.stderr == f"It runs. Follow it: lro-gateway operations wait {name}\n"
    waited = await stage.run("operations", "wait", name, "--format", "json")
    assert json.loads(waited.stdout)["response"]["rowCount"] == "5"


async def test_the_mistakes_of_a_person_end_with_2_and_say_what_to_do(stage: Stage) -> None:
    """The gateway names the methods that are spelt alike, and the field that is wrong."""
    for arguments, said in (
        (
            ("CreateDatabse",),
            "there is no method 'CreateDatabse'; did you mean CreateDatabase?",
        ),
        (("create_databse",), "there is no method 'create_databse'; did you mean create_database?"),
        (("Nothing",), "there is no method 'Nothing'; `lro-gateway call` lists the methods"),
        (("Nothing", "--help"), "there is no method 'Nothing'; `lro-gateway call` lists"),
        (("",), "the method is empty; `lro-gateway call` lists the methods"),
        (("CreateDatabase", "{"), "the request is not JSON: "),
        (("CreateDatabase", "[" * 20000), "the request is not JSON: it nests too deeply"),
        (("CreateDatabase", '{"rowCount": NaN}'), "the request is not JSON: there is no value NaN"),
        (("CreateDatabase", '{"a": 1, "a": 2}'), "the request is not JSON: the key 'a' is given"),
        (("CreateDatabase", "--field", "x=\udcff"), "an argument or a variable is not UTF-8"),
        (("CreateDatabase", "[]"), "the request must be a JSON object, such as "),
        (("CreateDatabase", "--field", "x"), "--field needs KEY=VALUE or KEY:=JSON, not 'x'"),
        (("CreateDatabase", "--field", "x:=y"), "--field x:=y: the text after := is not JSON: "),
        (("CreateDatabase", "--field", "databseId=x"), "INVALID_ARGUMENT: databseId: "),
    ):
        ended = await stage.run("call", *arguments)
        assert (ended.status, ended.stdout) == (2, ""), arguments
        assert ended.stderr.startswith(f"lro-gateway: {said}"), ended.stderr


async def test_a_method_that_needs_agreement_is_called_if_a_person_agrees(tmp_path: Path) -> None:
    """Without --yes and without a terminal the call is not made."""
    async with staged(tmp_path, confirm=["*/CreateDatabase"]) as stage:
        call = ("call", "CreateDatabase", "--field", "databaseId=orders", "--wait")
        refused = await stage.run(*call)
        assert (refused.status, "Not called" in refused.stderr) == (2, True)
        assert (await stage.run(*call, "--yes")).status == 0


async def test_a_request_that_is_wrong_shows_the_fields_of_the_method(stage: Stage) -> None:
    """A person sees in the same place what is missing, and what else there is."""
    ended = await stage.run("call", "CreateDatabase", "--field", "rowCount:=5")
    assert (ended.status, ended.stdout) == (2, "")
    error, request = ended.stderr.split("\n\nThe request of CreateDatabase:\n\n")
    assert error == "lro-gateway: INVALID_ARGUMENT: databaseId: is required"
    assert [line.split() for line in request.splitlines()] == [
        ["FIELD", "TYPE", "REQUIRED", "MEANING"],
        ["databaseId", "string", "required"],
        ["rowCount", "integer"],
        ["requestId", "string"],
    ]


async def test_the_help_of_a_method_shows_its_fields_and_an_example(tmp_path: Path) -> None:
    """Without a method, --help shows the options, and the command without it the methods."""
    async with staged(tmp_path, descriptors=[str(DESCRIPTORS)]) as stage:
        shown = await stage.run("call", "ExportQuery", "--help")
        options = await stage.run("call", "--help", LRO_GATEWAY_URL="http://127.0.0.1:9")
        listed = await stage.run("call")
        names = await stage.run("call", "--format", "value(name)")
    assert shown.status == 0
    assert shown.stdout.startswith('The service says: "Writes query rows to a file."')
    assert re.search(r"(?m)^query +string +required  SQL that reads\.$", shown.stdout)
    assert re.search(r"(?m)^format +CSV \| JSON_LINES$", shown.stdout)
    example = "  lro-gateway call ExportQuery --field database=VALUE --field query=VALUE\n"
    assert example in shown.stdout
    assert (options.status, "--field KEY=VALUE" in options.stdout) == (0, True)
    assert listed.stdout.splitlines()[1].split(maxsplit=1) == [
        "backup_database",
        'lro_gateway.demo.v1.DatabaseAdmin: "Copies a database."',
    ]
    assert names.stdout.split() == [
        *("backup_database", "check_database", "create_database", "export_query"),
    ]


async def test_a_call_with_an_idempotency_key_starts_nothing_twice(tmp_path: Path) -> None:
    """A script may run again without a look at what the first run has done."""
    store = Location(tmp_path / "store.sqlite3")
    async with staged(tmp_path / "demo", store) as stage:
        names = []
        for _ in range(2):
            called = await stage.run(
                *("call", "CreateDatabase", "--field", "databaseId=orders"),
                *("--idempotency-key", "nightly", "--format", "value(name)"),
            )
            assert called.status == 0, called.stderr
            names.append(called.stdout)
        assert names[0] == names[1]
        refused = await stage.run(
            *("call", "CreateDatabase", "--field", "databaseId=other"),
            *("--idempotency-key", "nightly"),
        )
        assert refused.status == 2
        assert "the idempotency key stands for another request" in refused.stderr
        repeat = (
            *("call", "CreateDatabase", "--field", "databaseId=long"),
            *("--idempotency-key", "long"),
        )
        async with stage.gate:
            told = [(await stage.run(*repeat)).stderr for _ in range(2)]
        assert told[0].startswith("It runs. Follow it: ")
        assert told[1].startswith("An earlier call with this key has started it, and it runs. ")


async def test_the_next_step_runs_no_command_that_a_name_has() -> None:
    """A person copies the line into a shell."""
    started: Any = operations_pb2.Operation(name="jobs/1; $(id)'")
    async with ContraryBackend.open(
        {"GetOperation": answering(started)},
        methods={f"{factory.SERVICE}/BuildMachine": answering(started)},
        pool=factory.pool(),
        reflection_versions=("v1",),
    ) as backend:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "call", "BuildMachine", json.dumps({**factory.ORDER})),
            *("--backend", backend.target),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
    step = err.decode().strip().partition("Follow it: ")[2]
    assert shlex.split(step)[-2:] == ["wait", "jobs/1; $(id)'"]


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ABORTED])
async def test_a_call_that_a_backend_refuses_shows_its_details(code: grpc.StatusCode) -> None:
    """They tell which quota, which field, and when to try again."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason="NO_STEEL", domain="factory.test"),
        error_details_pb2.QuotaFailure(violations=[{"subject": "steel", "description": "0 t\x1b"}]),
        error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=30)),
    ]
    async with ContraryBackend.open(
        {},
        methods={f"{factory.SERVICE}/BuildMachine": refusing(code, "no steel", *details)},
        pool=factory.pool(),
        reflection_versions=("v1",),
    ) as backend:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "call", "BuildMachine", json.dumps({**factory.ORDER})),
            *("--backend", backend.target),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert err.decode().splitlines()[:4] == [
        f"lro-gateway: {code.name}: no steel",
        "  Reason: NO_STEEL (factory.test)",
        r"  Quota of steel: 0 t\x1b",
        "  Retry after 30s",
    ]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ({"done": True}, 0),
        ({"done": True, "error": {"code": 9, "message": "no steel"}}, 1),
        ({"done": True, "error": {"code": 1}}, 3),
        ({}, 0),
    ],
    ids=["succeeded", "failed", "cancelled", "runs"],
)
async def test_the_status_tells_how_an_operation_has_ended_already(end: Any, status: int) -> None:
    """A script must not take a failure for a success because the backend was quick."""
    started: Any = operations_pb2.Operation(name="jobs/1", **end)
    methods = {f"{factory.SERVICE}/BuildMachine": answering(started)}
    async with ContraryBackend.open(
        {"GetOperation": answering(started)},
        methods=methods,
        pool=factory.pool(),
        reflection_versions=("v1",),
    ) as backend:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "call", "BuildMachine", json.dumps({**factory.ORDER})),
            *("--backend", backend.target),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    assert (process.returncode, b"jobs/1" in out) == (status, True), err


async def test_the_newest_operations_are_listed_also_of_a_backend_that_ignores_the_page_size() -> (
    None
):
    """What is left out is told."""
    started = [
        operations_pb2.Operation(
            name=f"jobs/{number}",
            metadata=packed(message("Job", create_time={"seconds": 1_700_000_000 + number})),
        )
        for number in range(5)
    ]
    listed: Any = operations_pb2.ListOperationsResponse(operations=started)
    handlers = {"ListOperations": answering(listed)}
    async with ContraryBackend.open(handlers, pool=pool(), reflection_versions=("v1",)) as backend:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "operations", "list", "--limit", "2", "--format", "value(name)"),
            *("--backend", backend.target),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    assert out.decode().split() == ["jobs/4", "jobs/3"]
    assert b"There are more" in err
