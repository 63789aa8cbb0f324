"""The REST face answers curl with the options that a person types."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator

import anyio
import pytest
from google.longrunning import operations_pb2

from tests.contrary import ContraryBackend, acknowledging, answering
from tests.gateways import serving

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

RUNNING = operations_pb2.Operation(name="jobs/1")


async def curl(*arguments: str) -> str:
    """Run curl and return what it prints."""
    done = await anyio.run_process(["curl", "--silent", "--show-error", *arguments])
    return done.stdout.decode()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Serve a gateway to one backend."""
    handlers = {
        "GetOperation": answering(RUNNING),
        "ListOperations": answering(operations_pb2.ListOperationsResponse(operations=[RUNNING])),
        "WaitOperation": answering(operations_pb2.Operation(name="jobs/1", done=True)),
        "CancelOperation": acknowledging(),
        "DeleteOperation": acknowledging(),
    }
    async with (
        ContraryBackend.open(handlers) as backend,
        serving({"name": "b", "target": backend.target}) as base_url,
    ):
        yield base_url


async def test_get_prints_an_operation_that_a_person_can_read(url: str) -> None:
    """The JSON is indented and ends with a line break for the terminal."""
    assert await curl(f"{url}/v1/jobs/1") == '{\n  "name": "jobs/1",\n  "done": false\n}\n'


async def test_list_cancel_wait_and_delete_take_one_line_each(url: str) -> None:
    """The defaults of curl work. `-X POST` sends no body, and `-d` a form's Content-Type."""
    running, done = {"name": "jobs/1", "done": False}, {"name": "jobs/1", "done": True}
    assert [
        json.loads(await curl(f"{url}/v1/operations?pageSize=5")),
        json.loads(await curl("-X", "POST", f"{url}/v1/jobs/1:cancel")),
        json.loads(await curl("-d", '{"timeout": "5s"}', f"{url}/v1/jobs/1:wait")),
        json.loads(await curl("-X", "POST", f"{url}/v1/jobs/1:wait?timeout=5s")),
        json.loads(await curl("-X", "DELETE", f"{url}/v1/jobs/1")),
    ] == [{"operations": [running]}, {}, done, done, {}]


async def test_an_etag_saves_the_second_transfer(url: str, tmp_path: anyio.Path) -> None:
    """The second request gets 304 by `--etag-save` and `--etag-compare`."""
    etag = str(tmp_path / "etag")
    show_status = ["--write-out", "%{http_code}", "--output", str(tmp_path / "body")]
    first = await curl("--etag-save", etag, *show_status, f"{url}/v1/jobs/1")
    second = await curl("--etag-compare", etag, *show_status, f"{url}/v1/jobs/1")
    assert (first, second) == ("200", "304")


async def test_curl_exits_with_a_failure_and_prints_the_error(url: str) -> None:
    """With `--fail-with-body` curl exits with 22, and prints an error in Google's format."""
    with pytest.raises(Exception, match="exit status 22") as caught:
        await curl("--fail-with-body", f"{url}/v1/jobs/..%00")
    error = json.loads(getattr(caught.value, "output", b"{}"))["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
