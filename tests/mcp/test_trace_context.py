"""The trace context in the `_meta` of a request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateways import serving
from tests.mcp.wire import RpcError, wire

INVALID_PARAMS = -32602


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("value", [True, 1, ["a=b"], {"a": "b"}])
async def test_a_trace_context_that_is_no_text_is_refused(version: str, value: Any) -> None:
    """The error names it. Without this check, the call would fail with the words of a library."""
    async with serving() as url, wire(f"{url}/mcp", version) as client:
        for key in ("traceparent", "tracestate", "baggage"):
            with pytest.raises(RpcError, match=rf"_meta\.{key}: a string is needed") as caught:
                await client("tools/list", _meta={key: value})
            assert caught.value.code == INVALID_PARAMS


async def test_a_malformed_trace_context_is_left_out() -> None:
    """Work does not depend on its trace (W3C Trace Context)."""
    async with serving() as url, wire(f"{url}/mcp") as client:
        meta = {"traceparent": "x", "tracestate": "\0", "baggage": "="}
        assert "tools" in await client("tools/list", _meta=meta)
