"""The stage on which the commands run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.commands.stage import Stage, staged


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Run a demo backend and a gateway in front of it."""
    async with staged(tmp_path) as stage:
        yield stage
