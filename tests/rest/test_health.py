"""`/livez` and `/readyz`, whatever happens to those who report."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from lro_gateway.backends.channel import Endpoint
from lro_gateway.backends.health import Health, HealthReport
from lro_gateway.rest.health import health_router
from tests.gateways import serving


class Reporter:
    """A reporter of a backend that serves, or one that fails."""

    def __init__(self, name: str, failure: Exception | None = None) -> None:
        self.endpoint = Endpoint(name, f"{name}.example:443")
        self._failure = failure

    async def report(self) -> HealthReport:
        """Report that the backend serves, or fail."""
        if self._failure is not None:
            raise self._failure
        return HealthReport(self.endpoint.name, self.endpoint.target, Health.SERVING)


async def test_a_reporter_that_fails_makes_its_backend_unknown_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reports of other backends are answered all the same."""
    app = FastAPI()
    app.include_router(health_router([Reporter("up"), Reporter("odd", ZeroDivisionError())]))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get("/readyz")
    assert (response.status_code, response.json()) == (
        200,
        {
            "status": "degraded",
            "backends": [
                {"name": "up", "target": "up.example:443", "status": "SERVING"},
                {
                    "name": "odd",
                    "target": "odd.example:443",
                    "status": "UNKNOWN",
                    "message": "its health could not be read; the gateway's log says why",
                },
            ],
        },
    )
    assert "the health of backend odd could not be read" in caplog.text
    assert "ZeroDivisionError" in caplog.text


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
