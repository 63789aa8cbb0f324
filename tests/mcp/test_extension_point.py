"""Tests of the tools and tasks that a program adds to the gateway."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from lro_gateway.mcp.answers import Reply, TaskKey
from lro_gateway.mcp.extension_point import Extension, ToolCall
from lro_gateway.mcp.tasks.tasks import TaskState, TaskStatus
from lro_gateway.principal import Principal
from lro_gateway.service.service import OperationService
from tests.conformance.fixtures import extra_tool, text
from tests.gateways import serving
from tests.mcp.jobs import Jobs
from tests.mcp.wire import RpcError, wire

pytestmark = pytest.mark.anyio

_BEGUN = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


@dataclass
class Source:
    """A source of tasks whose watch fails if `fails` is True, and otherwise yields their end."""

    name: str
    fails: bool

    async def get(self, _caller: Principal, _reference: tuple[str, ...]) -> TaskState:
        return TaskState(TaskStatus.WORKING, "Running.", _BEGUN, _BEGUN)

    async def watch(
        self, _caller: Principal, _reference: tuple[str, ...]
    ) -> AsyncGenerator[TaskState]:
        if self.fails:
            raise ZeroDivisionError
        yield TaskState(TaskStatus.CANCELLED, "Cancelled.", _BEGUN, _BEGUN)

    async def cancel(self, _caller: Principal, _reference: tuple[str, ...]) -> None:
        raise ZeroDivisionError

    async def update(
        self, _caller: Principal, _reference: tuple[str, ...], _answers: Mapping[str, Any]
    ) -> None: ...


def two_sources(_service: OperationService) -> Extension:
    """Return a source that fails, a source that works, and a tool that replies with their tasks."""

    async def start(call: ToolCall) -> Reply:
        return TaskKey(call.arguments["source"], "start", ())

    sources = (Source("fails", fails=True), Source("works", fails=False))
    return Extension((extra_tool("start", start),), sources)


async def test_a_stream_follows_its_other_tasks_after_one_follower_has_failed(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the exception, and the stream has the end of the other task."""
    async with serving(jobs.settings, extend=two_sources) as url, wire(f"{url}/mcp") as client:
        created = [
            await client("tools/call", name="start", arguments={"source": source})
            for source in ("fails", "works")
        ]
        ids = [each["taskId"] for each in created]
        async with client.stream("subscriptions/listen", notifications={"taskIds": ids}) as stream:
            _, notified, ended = [message async for message in stream]
    assert (notified["params"]["taskId"], notified["params"]["status"]) == (ids[1], "cancelled")
    assert "result" in ended
    assert "ZeroDivisionError" in caplog.text


async def test_an_unexpected_exception_in_a_task_is_internal_and_hides_its_traceback(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets INTERNAL, and the log has the exception."""
    async with serving(jobs.settings, extend=two_sources) as url, wire(f"{url}/mcp") as client:
        created = await client("tools/call", name="start", arguments={"source": "fails"})
        with pytest.raises(RpcError) as refused:
            await client("tasks/cancel", taskId=created["taskId"])
    assert (refused.value.code, refused.value.message, refused.value.data) == (
        -32603,
        "the gateway failed; its log has the reason",
        {"code": 13, "status": "INTERNAL"},
    )
    assert "ZeroDivisionError" in caplog.text


async def test_an_extensions_tool_replaces_a_methods_tool_of_the_same_name(jobs: Jobs) -> None:
    """tools/list has the name once, and tools/call calls the extension's tool."""

    async def compute(_call: ToolCall) -> Reply:
        return text("the extension's tool")

    extension = Extension((extra_tool("slow_compute", compute),))
    async with (
        serving(jobs.settings, extend=lambda _: extension) as url,
        wire(f"{url}/mcp") as client,
    ):
        names = [tool["name"] for tool in (await client("tools/list"))["tools"]]
        called = await client("tools/call", name="slow_compute", arguments={})
    assert names.count("slow_compute") == 1
    assert called["content"][0]["text"] == "the extension's tool"


@pytest.mark.parametrize("names", [("get_operation",), ("a", "a")])
async def test_two_tools_of_the_same_name_are_refused(jobs: Jobs, names: tuple[str, ...]) -> None:
    """The gateway raises ValueError before its server listens."""

    async def call(_call: ToolCall) -> Reply:
        return text("never called")

    extension = Extension(tuple(extra_tool(name, call) for name in names))
    with pytest.raises(ValueError, match=f"two tools have the name '{names[0]}'"):
        async with serving(jobs.settings, extend=lambda _: extension):
            pass
