"""Tests of the text for a model beside the JSON: the state of an operation, and the next step."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from google.rpc import status_pb2

from tests.contrary import answering, refusing
from tests.gateways import serving
from tests.mcp.reports import client_of_reports
from tests.mcp.reports import message as report_message
from tests.mcp.tool_client import MODES, RUNNING, client_of, packed, text_beside_json, texts
from tests.shapes import message


async def test_the_text_of_a_running_operation_has_its_progress_and_the_next_step() -> None:
    """The percentage and the status message come from the metadata.

    The next step of an answer with metadata includes the fields of a short look.
    """
    metadata = packed(message("Job", progress_percent=42, status_message="Copying rows."))
    assert await text_beside_json(operations_pb2.Operation(name="jobs/1", metadata=metadata)) == (
        'Running, 42% done. The service says: "Copying rows." Call wait_operation, or poll again in'
        ' 1 s, with fields "done,error,response".'
    )
    assert await text_beside_json(RUNNING) == "Running. Call wait_operation, or poll again in 1 s."


@pytest.mark.parametrize(
    ("age", "seconds"), [(0, 1), (15, 5), (45, 12), (61, 30), (200, 51), (10**8, 60)]
)
async def test_the_advised_pause_grows_with_age(age: int, seconds: int) -> None:
    """It is the poll interval or a quarter of the age, whichever is longer, up to a minute.

    The age follows from the create_time in the metadata.
    """
    assert f" or poll again in {seconds} s, with" in await text_beside_json(_of_age(age))


async def test_the_advised_pause_is_at_least_the_poll_interval() -> None:
    """The setting poll_intervals may be longer than a minute."""
    handlers = {"GetOperation": answering(_of_age(1000))}
    async with client_of(MODES[0], handlers, poll_intervals=["1s", "5s", "90s"]) as (client, _):
        result = await client.call_tool("get_operation", {"name": "jobs/1"})
    assert " or poll again in 90 s, with" in texts(result)[1]


def _of_age(seconds: int) -> Any:
    created = message("google.protobuf.Timestamp", seconds=int(time.time()) - seconds)
    return operations_pb2.Operation(
        name="jobs/1", metadata=packed(message("Job", create_time=created))
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tool", ["get_operation", "wait_operation"])
async def test_a_later_look_as_advised_says_what_changed(mode: str, tool: str) -> None:
    """It has no metadata while the operation runs, and its words say how far the operation is.

    The look that finds the end has the result. It needs no state of an earlier look.
    """
    metadata = packed(message("Job", progress_percent=42, status_message="Copying rows."))
    running = operations_pb2.Operation(name="jobs/1", metadata=metadata)
    done = operations_pb2.Operation(name="jobs/1", metadata=metadata, done=True, response=metadata)
    failed = operations_pb2.Operation(
        name="jobs/1", metadata=metadata, done=True, error=status_pb2.Status(code=15, message="no")
    )
    looks = []
    for state in (running, done, failed):
        async with client_of(mode, {"GetOperation": answering(state)}) as (client, _):
            timeout = {"timeout": "0s"} if tool == "wait_operation" else {}
            fields = {"fields": "done,error,response"}
            result = await client.call_tool(tool, {"name": "jobs/1", **timeout, **fields})
            looks.append((result.structured_content, texts(result)[1]))
    assert looks[0][0] == {"done": False}
    assert looks[0][1] == (
        'Running, 42% done. The service says: "Copying rows." Call wait_operation, or poll again in'
        " 1 s."
    )
    assert list(looks[1][0]) == ["done", "response"]
    assert looks[2][0] == {"done": True, "error": {"code": 15, "message": "no"}}
    assert looks[2][1].startswith('Done: it failed with DATA_LOSS. The service says: "no".')


async def test_each_state_of_an_operation_has_a_text_of_its_own() -> None:
    """An operation ends with a result, without one, with an error, or cancelled, or has no name."""
    job = packed(message("Job"))

    def ended(code: int) -> Any:
        error = status_pb2.Status(code=code, message="the disk\n is gone")
        return operations_pb2.Operation(name="jobs/1", done=True, error=error)

    texts_of_states = [
        await text_beside_json(operations_pb2.Operation(name="jobs/1", done=True, response=job)),
        await text_beside_json(operations_pb2.Operation(name="jobs/1", done=True)),
        await text_beside_json(ended(15)),
        await text_beside_json(ended(1)),
        await text_beside_json(ended(1007)),
        await text_beside_json(operations_pb2.Operation()),
    ]
    unchanged = "The call itself succeeded. Another call will return the same error."
    assert texts_of_states == [
        "Done: it succeeded, and response holds the result.",
        "Done: it succeeded, without a result.",
        f'Done: it failed with DATA_LOSS. The service says: "the disk is gone". {unchanged}',
        "Done: it was cancelled. Nothing more will happen.",
        f'Done: it failed with CODE_1007. The service says: "the disk is gone". {unchanged}',
        "Running. It has no name, so it cannot be followed.",
    ]


async def test_a_long_error_message_is_cut_in_the_text_and_complete_in_the_json() -> None:
    """The text has fewer than 500 characters."""
    error = status_pb2.Status(code=13, message="x" * 5000)
    text = await text_beside_json(operations_pb2.Operation(name="jobs/1", done=True, error=error))
    assert len(text) < 500


@pytest.mark.parametrize("mode", MODES)
async def test_the_text_of_a_list_counts_operations_and_names_the_next_page(mode: str) -> None:
    """The first block is the page as ProtoJSON. The second block is the text."""
    page = operations_pb2.ListOperationsResponse(
        operations=[RUNNING, operations_pb2.Operation(name="jobs/2", done=True)],
        next_page_token="more",  # noqa: S106 - a backend's page token
        unreachable=["jobs/far"],
    )
    async with client_of(mode, {"ListOperations": answering(page)}) as (client, _):
        result = await client.call_tool("list_operations", {"pageSize": 2})
    assert result.structured_content == {
        "operations": [{"name": "jobs/1", "done": False}, {"name": "jobs/2", "done": True}],
        "nextPageToken": result.structured_content["nextPageToken"],
        "unreachable": ["jobs/far"],
    }
    assert texts(result)[1] == (
        "2 operations on this page: 1 running, 1 succeeded. There are more. Call again with"
        " pageToken set to nextPageToken. Not included, because they cannot be listed now:"
        " jobs/far."
    )


@pytest.mark.parametrize("mode", MODES)
async def test_the_text_of_a_list_names_what_failed_with_code_and_message(mode: str) -> None:
    """A model then need not read the JSON. A failure that was a cancellation is none."""

    def failed(number: int) -> Any:
        error = status_pb2.Status(code=15, message=f"disk {number} is gone")
        return operations_pb2.Operation(name=f"jobs/{number}", done=True, error=error)

    cancelled = operations_pb2.Operation(
        name="jobs/0", done=True, error=status_pb2.Status(code=1, message="stopped")
    )
    operations = [cancelled, RUNNING, *map(failed, range(2, 9))]
    page = operations_pb2.ListOperationsResponse(operations=operations)
    async with client_of(mode, {"ListOperations": answering(page)}) as (client, _):
        result = await client.call_tool("list_operations", {})
    named = [
        f'jobs/{number} failed with DATA_LOSS. The service says: "disk {number} is gone".'
        for number in range(2, 7)
    ]
    assert texts(result)[1] == (
        f"9 operations on this page: 1 running, 7 failed, 1 cancelled. {' '.join(named)}"
        " 2 more failed."
    )


@pytest.mark.parametrize("mode", MODES)
async def test_a_list_has_twenty_operations_by_default_over_mcp_alone(mode: str) -> None:
    """REST leaves the page size to the backend, as before."""
    page = operations_pb2.ListOperationsResponse(operations=[RUNNING])
    async with client_of(mode, {"ListOperations": answering(page)}) as (client, backend):
        for arguments in ({}, {"pageSize": 0}, {"pageSize": 7}):
            await client.call_tool("list_operations", arguments)
        async with (
            serving({"name": "b", "target": backend.target}) as url,
            httpx.AsyncClient(base_url=url) as rest,
        ):
            await rest.get("/v1/operations")
    assert [call.request.page_size for call in backend.answered] == [20, 20, 7, 0]


@pytest.mark.parametrize(
    ("age", "elapsed"), [(5, ""), (44, " for 44 s"), (190, " for 3 min"), (7300, " for 2 h")]
)
async def test_the_text_of_a_running_operation_says_how_long_it_has_run(
    age: int, elapsed: str
) -> None:
    """The metadata has the start. The first ten seconds are not worth a word."""
    began = int(time.time())
    created = message("google.protobuf.Timestamp", seconds=began - age)
    operation = operations_pb2.Operation(
        name="jobs/1", metadata=packed(message("Job", create_time=created, progress_percent=7))
    )
    text = await text_beside_json(operation)
    later = range(age + 1, age + int(time.time()) - began + 1)
    told = {f"Running{elapsed}, ", *(f"Running for {seconds} s, " for seconds in later)}
    assert text[: text.index("7%")] in told


@pytest.mark.parametrize("mode", MODES)
async def test_a_wait_takes_a_number_of_seconds_and_tells_that_it_reduced_the_timeout(
    mode: Any,
) -> None:
    """A number is not refused, and more than the maximum is taken as the maximum."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lro_gateway.service.waiting.MAX_WAIT", timedelta(seconds=0.1))
        async with client_of(mode, {"GetOperation": answering(RUNNING)}) as (client, _):
            arguments = {"name": "jobs/1", "timeout": 0.1}
            short = await client.call_tool("wait_operation", arguments)
            long = await client.call_tool("wait_operation", {**arguments, "timeout": 600})
    assert not short.is_error
    assert "reduced" not in texts(short)[1]
    assert texts(long)[1].endswith(" The timeout was reduced to 50 s, the maximum.")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"phase": 1}, 'The service says: "READING_TABLES".'),
        ({"step": "Merging 3 files"}, 'The service says: "Merging 3 files".'),
    ],
)
async def test_the_phase_and_the_step_of_an_operation_are_said(
    mode: Any, fields: dict[str, Any], said: str
) -> None:
    """Many services have these fields in place of a state."""
    running = operations_pb2.Operation(
        name="reports/1", metadata=packed(report_message("MakeReportMetadata", **fields))
    )
    async with client_of_reports(
        mode, {"GetOperation": answering(running)}, {"MakeReport": answering(running)}
    ) as (client, _):
        result = await client.call_tool("get_operation", {"name": "reports/1"})
    assert texts(result)[1].startswith(f"Running. {said} ")


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_was_aborted_may_be_the_callers_own(mode: Any) -> None:
    """After a time-out, the first call may still run. A blind repeat would do no good."""
    aborted = refusing(grpc.StatusCode.ABORTED, "busy")
    async with client_of_reports(mode, {}, {"MakeReport": aborted}) as (client, _):
        refused = await client.call_tool("make_report", {"parent": "p/1", "format": "CSV"})
    assert "It may be an earlier call of your own" in texts(refused)[1]
    assert "If the message names an operation, wait for it." in texts(refused)[1]


@pytest.mark.parametrize("mode", MODES)
async def test_a_name_that_the_backend_refuses_is_answered_with_the_way_to_find_it(
    mode: Any,
) -> None:
    """A model may have a name from yesterday, or only its last segment."""
    malformed = refusing(grpc.StatusCode.INVALID_ARGUMENT, "name is not of the form jobs/*")
    async with client_of(mode, {"GetOperation": malformed}) as (client, _):
        refused = await client.call_tool("get_operation", {"name": "yesterday"})
    assert texts(refused)[1].endswith("Call list_operations to see which operations exist.")


@pytest.mark.parametrize("mode", MODES)
async def test_a_typo_in_an_enum_is_answered_with_the_allowed_values(mode: Any) -> None:
    """The backend is not called."""
    async with client_of_reports(mode, {}, {"MakeReport": answering(RUNNING)}) as (client, backend):
        refused = await client.call_tool("make_report", {"parent": "p/1", "format": "csv"})
        assert not backend.answered
    assert "one of CSV, JSON_LINES is needed, not 'csv'" in texts(refused)[0]


@pytest.mark.parametrize("mode", MODES)
async def test_a_backend_that_refuses_an_empty_parent_is_left_out_of_the_resources(
    mode: Any,
) -> None:
    """The tool that lists operations names the way out, for the caller and for the operator."""
    refused = refusing(grpc.StatusCode.INVALID_ARGUMENT, "name is empty")
    async with client_of(mode, {"ListOperations": refused}) as (client, _):
        assert (await client.list_resources()).resources == []
        listed = await client.call_tool("list_operations", {})
        named = await client.call_tool("list_operations", {"name": "projects/p"})
    assert "Pass a parent as name, such as projects/p." in texts(listed)[1]
    assert "default_parent" in texts(listed)[1]
    assert "default_parent" not in texts(named)[1]


async def test_an_unimplemented_call_whose_text_says_nothing_gets_a_text() -> None:
    """The words name the RPC, and quote nothing."""
    silent = refusing(grpc.StatusCode.UNIMPLEMENTED, " Unimplemented.")
    async with client_of("2026-07-28", {"ListOperations": silent}) as (client, _):
        refused = await client.call_tool("list_operations", {})
    assert "does not implement google.longrunning.Operations/ListOperations" in texts(refused)[0]
    assert "service says" not in texts(refused)[0]


@pytest.mark.parametrize("mode", MODES)
async def test_an_unknown_argument_has_one_wording_for_methods_and_verbs(mode: Any) -> None:
    """The message names the argument, and then those that exist."""
    async with client_of_reports(mode, {}, {"MakeReport": answering(RUNNING)}) as (client, _):
        method = await client.call_tool("make_report", {"parrent": "p/1"})
        verb = await client.call_tool("get_operation", {"nmae": "x"})
    assert json.loads(texts(method)[0])["message"] == (
        "parrent: there is no such field; there are:"
        " parent, format, reportOptions, timeLimit, fields"
    )
    assert json.loads(texts(verb)[0])["message"] == (
        "nmae: there is no such field; there are: name, backend, fields"
    )
