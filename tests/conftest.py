"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anyio.pytest_plugin import get_runner
from hypothesis import settings

# A busy machine is no reason for a test to fail.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run on asyncio, as the gateway does."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _one_event_loop(anyio_backend: str) -> Iterator[None]:
    """Hold one event loop for the whole run.

    gRPC polls for every channel of the process in one place, and what it has to say about a test's
    last channel would else reach a loop that is closed.
    """
    with get_runner(anyio_backend, {}):
        yield
