"""What backends are shown is constructed when the gateway opens, and closed with it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from lro_gateway.config.backend_credentials import open_credentials
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import BackendConfig


def backend(name: str, **settings: object) -> BackendConfig:
    """Return the configuration of a backend on loopback."""
    return BackendConfig.model_validate({"name": name, "target": "127.0.0.1:1", **settings})


async def test_only_backends_that_are_shown_something_have_credentials(tmp_path: Path) -> None:
    """The others cost nothing."""
    file = tmp_path / "token"
    file.write_text("sesame")
    configs = [
        backend("plain"),
        backend("headers", pass_headers=["x-region"]),
        backend("file", credentials={"bearer_file": str(file)}),
        backend("google", credentials={"google": {}}),
    ]
    async with AsyncExitStack() as stack:
        found = await open_credentials(configs, stack)
        assert sorted(found) == ["file", "google", "headers"]
        assert found["headers"].own is None
        assert found["file"].own is not None
        assert await found["file"].own.metadata(5) == (("authorization", "Bearer sesame"),)


async def test_all_files_without_a_token_are_told_at_once(tmp_path: Path) -> None:
    """As with all mistakes of a configuration."""
    file = tmp_path / "token"
    file.write_text("open sesame")
    configs = [backend(name, credentials={"bearer_file": str(file)}) for name in ("a", "b")]
    async with AsyncExitStack() as stack:
        with pytest.raises(ConfigError) as caught:
            await open_credentials(configs, stack)
    problem = f"credentials.bearer_file: {file} has characters that no token can have"
    assert caught.value.mistakes == (f"backend a: {problem}", f"backend b: {problem}")
