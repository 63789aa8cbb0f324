"""Secrets of `metadata` that go over a network without TLS are warned of."""

from __future__ import annotations

from pathlib import Path

import pytest

from lro_gateway.config import loading
from lro_gateway.config.plaintext import plaintext_secrets

METADATA = (
    '{ x-env = "env:TEST_TOKEN", x-file = "file:token", authorization = "Bearer 5f1e",'
    ' x-team = "infra" }'
)


def written(directory: Path, settings: str) -> Path:
    """Write a configuration with one backend, which has these settings."""
    (directory / "token").write_text("canary-2")
    (directory / "token").chmod(0o600)
    config = directory / "gateway.toml"
    config.write_text(f'[[backends]]\nname = "b"\ndescriptors = []\n{settings}\n')
    return config


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ('target = "10.0.0.1:50051"', ["x-env", "x-file", "authorization"]),
        ('target = "dns:///b.internal:50051"', ["x-env", "x-file", "authorization"]),
        ('target = "10.0.0.1:50051"\ntls = {}', []),
        ('target = "127.0.0.1:50051"', []),
        ('target = "unix:/run/b.sock"', []),
    ],
)
def test_each_secret_without_encryption_gets_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, keys: list[str]
) -> None:
    """A plain value is none, unless its key is that of credentials."""
    monkeypatch.setenv("TEST_TOKEN", "canary-1")
    config = loading.load(written(tmp_path, f"{settings}\nmetadata = {METADATA}"))
    found = [*plaintext_secrets(config)]
    assert [each.partition(" goes over")[0] for each in found] == [
        f"backend b: metadata.{key}" for key in keys
    ]
    assert "canary" not in "".join(found)
