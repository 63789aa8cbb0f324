"""The page `/metrics` for Prometheus."""

from __future__ import annotations

import os

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.telemetry import metrics


async def show_metrics(_request: Request) -> Response:
    """Return the metrics of this process, or of all workers if it is one of several."""
    directory = os.environ.get(metrics.WORKERS_DIRECTORY)
    # The metrics of workers are in files.
    text = await run_in_threadpool(metrics.exposition, directory)
    return Response(text, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
