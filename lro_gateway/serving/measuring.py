"""The metrics of HTTP requests, and the page `/metrics` for Prometheus."""

from __future__ import annotations

import os
import time
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lro_gateway.telemetry import metrics

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "_OTHER"
"""OpenTelemetry's word for all other methods, because a caller may invent any number of them."""


class Measuring:
    """ASGI middleware that measures each request, and the checks that it passes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, and record its duration and the status of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        # If the client leaves before an answer, the status is that of nginx for this.
        status = 499

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        metrics.ACTIVE_REQUESTS.add(1, method)
        started = time.perf_counter()
        try:
            await self._app(scope, receive, noting)
        finally:
            metrics.REQUESTS.record(time.perf_counter() - started, method, str(status))
            metrics.ACTIVE_REQUESTS.add(-1, method)


async def show_metrics(_request: Request) -> Response:
    """Return the metrics of this process, or of all workers if it is one of several."""
    directory = os.environ.get(metrics.WORKERS_DIRECTORY)
    # The metrics of workers are in files.
    text = await run_in_threadpool(metrics.exposition, directory)
    return Response(text, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
