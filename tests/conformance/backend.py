"""The backend whose RPCs have the names of the tools that the conformance suite calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message_factory import GetMessageClass

from tests.contrary import Handler, answering
from tests.mcp import jobs
from tests.mcp.jobs import Jobs
from tests.protos import pool_of

SERVICE: Final = "conformance.v1.Tools"
_DATA: Final = b"stands for an image or a sound"
_IMAGE: Final = {"content_type": "image/png", "data": _DATA}
_SOUND: Final = {"content_type": "audio/wav", "data": _DATA}
_TEXT: Final = {"content_type": "text/plain", "data": b"This is an embedded resource."}
_CONFIRMED: Final = (
    "ConfirmDelete",
    "TestInputRequiredResultElicitation",
    "TestInputRequiredResultRequestState",
    "TestInputRequiredResultTamperedState",
    "TestInputRequiredResultMultiRound",
    "TestInputRequiredResultCapabilities",
    "TestStreamingElicitation",
)
"""The plain RPCs whose scenarios expect a question before the call."""


@asynccontextmanager
async def backend() -> AsyncIterator[Mapping[str, Any]]:
    """Serve the backend; yields its entry in a gateway's configuration."""
    async with Jobs.open(more=_handlers, types=pool_of("conformance")) as running:
        yield {
            **running.settings,
            "methods": [f"{SERVICE}/*", f"{jobs.SERVICE}/*"],
            "confirm": [f"{SERVICE}/{name}" for name in (*_CONFIRMED, "TestToolWithTask")],
        }


def _handlers(running: Jobs) -> Mapping[str, Handler]:
    """Return the handlers of the service; its operations are jobs of `running`."""

    async def greet(request: Any, _context: Any) -> Any:
        return jobs.message("Text", text=f"Hello, {request.name}!")

    async def fail(_request: Any, _context: Any) -> Any:
        return running.operation(running.begin(2, failure="the job failed"))

    async def compute(_request: Any, _context: Any) -> Any:
        return running.operation(running.begin(2))

    two_files = pool_of("conformance").FindMessageTypeByName("conformance.v1.TwoFiles")
    both = GetMessageClass(two_files)(image=_IMAGE, file=_TEXT)
    done = answering(jobs.message("Text", text="Done."))
    handlers = {
        "Greet": greet,
        "FailingJob": fail,
        "TestToolWithTask": compute,
        "TestImageContent": answering(HttpBody(**_IMAGE)),
        "TestAudioContent": answering(HttpBody(**_SOUND)),
        "TestEmbeddedResource": answering(HttpBody(**_TEXT)),
        "TestMultipleContentTypes": answering(both),
        **dict.fromkeys(_CONFIRMED, done),
    }
    return {f"{SERVICE}/{name}": handler for name, handler in handlers.items()}
