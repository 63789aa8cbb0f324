"""Headers that the configuration names reach the backend, and nothing else does."""

from __future__ import annotations

import httpx
import pytest

from lro_gateway.access.authentication import NobodyIdentified
from lro_gateway.access.passed_headers import MAX_BYTES, PassingHeaders
from lro_gateway.principal import ANONYMOUS
from tests.backends.credentials.recording import recording, shown
from tests.gateways import serving
from tests.mcp.wire import wire

LISTED = ["X-Region", "x-trace"]


async def test_listed_headers_are_passed_on_over_rest_and_mcp() -> None:
    """Other headers, such as Cookie and Authorization, stay at the gateway."""
    sent = {
        "x-region": "eu",
        "X-Trace": "7",
        "x-other": "o",
        "cookie": "a=b",
        "authorization": "Bearer x",
    }
    async with (
        recording() as backend,
        serving({"name": "b", "target": backend.target, "pass_headers": LISTED}) as url,
        httpx.AsyncClient(base_url=url) as client,
        wire(f"{url}/mcp") as mcp,
    ):
        assert (await client.get("/v1/jobs/1", headers=sent)).is_success
        name = {"name": "get_operation", "arguments": {"name": "jobs/1"}}
        await mcp("tools/call", headers={**sent, "x-region": "us"}, **name)
    assert shown(backend, "GetOperation", "x-region") == ["eu", "us"]
    assert shown(backend, "GetOperation", "x-trace") == ["7", "7"]
    for key in ("x-other", "cookie", "authorization"):
        assert shown(backend, "GetOperation", key) == [None, None]
    assert set(shown(backend, "reflection.v1", "x-region")) <= {None}


async def test_a_header_that_cannot_be_metadata_is_refused() -> None:
    """The error names the header, and has nothing of its value."""
    async with (
        recording() as backend,
        serving({"name": "b", "target": backend.target, "pass_headers": LISTED}) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        answers = [
            await client.get("/v1/jobs/1", headers=[(b"x-region", value)])
            for value in (b"eu\xff", b"a\tb", b"s" * MAX_BYTES)
        ]
    assert not backend.count("GetOperation")
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["details"][0]["reason"]) == (400, "HEADER_NOT_PASSED")
        assert "sss" not in answer.text
    assert "x-region" in answers[0].text


@pytest.mark.parametrize("value", [b"a\r\nx-admin: 1", b"a\nb", b"\x00", b"\x7f"])
async def test_no_header_can_bring_a_line_break_or_a_control(value: bytes) -> None:
    """The HTTP server refuses most of them already."""
    passing = PassingHeaders(NobodyIdentified(), ["x-region"])
    with pytest.raises(Exception, match="not printable ASCII"):
        await passing.of_request({"headers": [(b"x-region", value)]})


async def test_a_request_without_such_headers_has_the_same_caller_as_before() -> None:
    """No principal is made for it."""
    passing = PassingHeaders(NobodyIdentified(), ["x-region"])
    assert await passing.of_request({"headers": [(b"host", b"h")]}) is ANONYMOUS
    assert passing.of_process() is ANONYMOUS
