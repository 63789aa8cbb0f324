"""The configuration file of a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a configuration file."""

    def write(text: str) -> Path:
        file = tmp_path / "gateway.toml"
        file.write_text(dedent(text), encoding="utf-8")
        return file

    return write
