"""Fixtures that every test may use."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A busy machine is no reason for a test to fail.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run on asyncio, as the gateway does."""
    return "asyncio"
