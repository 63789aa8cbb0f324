"""`/livez` and `/readyz`, as probes and people ask for them."""

from __future__ import annotations

import httpx
import pytest

from tests.gateways import serving


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health_is_answered_to_get_and_head_in_the_form_of_every_answer(path: str) -> None:
    """Load balancers ask by HEAD; people read what GET answers."""
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        got, head = await client.get(path), await client.head(path)
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == got.headers[name]
    assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert got.text.startswith('{\n  "status": "ok"')
