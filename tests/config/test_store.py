"""The table `[store]`."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path

import pytest

from lro_gateway.config.exposed_files import exposed_files
from lro_gateway.config.loading import ConfigError, load
from lro_gateway.config.models import GatewayConfig
from lro_gateway.records.archived import ArchiveLimits
from lro_gateway.records.entries import JournalLimits
from lro_gateway.records.location import NOWHERE, Location

_DSN = "postgresql://gateway:hunter2@db.internal/records"


def _loaded(directory: Path, url: str) -> GatewayConfig:
    file = directory / "gateway.toml"
    file.write_text(f'[store]\nurl = "{url}"\n')
    return load(file)


def test_a_path_is_relative_to_the_file(tmp_path: Path) -> None:
    """The working directory of the process does not matter."""
    config = _loaded(tmp_path, "sqlite:///state/store.sqlite3")
    assert config.store.location == Location(tmp_path / "state" / "store.sqlite3")


def test_without_a_url_a_gateway_in_a_process_has_no_store() -> None:
    """Only `serve` chooses one. A command that opens a gateway for itself needs none."""
    assert GatewayConfig().store.url == "auto"
    assert GatewayConfig().store.location is NOWHERE


@pytest.mark.parametrize("url", ["env:STORE_URL", "file:url.txt", _DSN])
def test_a_url_with_a_password_may_be_elsewhere(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in no text of the configuration, and workers get it."""
    monkeypatch.setenv("STORE_URL", _DSN)
    (tmp_path / "url.txt").write_text(f"{_DSN}\n")
    config = _loaded(tmp_path, url)
    assert config.store.location == Location(dsn=_DSN)
    assert "hunter2" not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"
    assert pickle.loads(pickle.dumps(config)).store == config.store  # noqa: S301 - as spawn does


def test_a_file_with_a_url_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    """It is as with the file of a key."""
    (tmp_path / "url.txt").write_text(_DSN)
    (tmp_path / "url.txt").chmod(0o640)
    (warning,) = exposed_files(_loaded(tmp_path, "file:url.txt"))
    assert warning.startswith("store.url: its group of this machine can read ")


@pytest.mark.parametrize("url", ["mysql://gateway:hunter2@db/records", "env:NO_URL", "file:no.txt"])
def test_a_mistake_is_reported_without_the_url(url: str, tmp_path: Path) -> None:
    """A mistyped URL may have a password too."""
    with pytest.raises(ConfigError, match=r"gateway\.toml: store\.url: ") as caught:
        _loaded(tmp_path, url)
    assert "hunter2" not in str(caught.value)


def test_a_number_is_no_url(tmp_path: Path) -> None:
    """The message is that of any other text."""
    (tmp_path / "gateway.toml").write_text("[store]\nurl = 1\n")
    with pytest.raises(ConfigError, match=r"store\.url: text in quotes is needed"):
        load(tmp_path / "gateway.toml")


def test_a_retention_is_a_time_that_makes_sense(tmp_path: Path) -> None:
    """A row that expires within seconds would be no memory."""
    file = tmp_path / "gateway.toml"
    file.write_text('[store]\nretention = "90d"\nmax_rows = 10\n')
    assert load(file).store.journal_limits == JournalLimits(timedelta(days=90), 10)
    file.write_text('[store]\nretention = "1s"\nmax_rows = 0\n')
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert "store.retention: must be at least 1m and at most 3650d" in str(caught.value)
    assert "store.max_rows: " in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ("", ArchiveLimits(timedelta(days=7), 262144)),
        ('archive_retention = "36h"', ArchiveLimits(timedelta(hours=36))),
        ('archive_retention = "0s"\narchive_max_bytes = 1024', ArchiveLimits(timedelta(0), 1024)),
    ],
)
def test_the_archive_has_a_time_and_a_size(
    settings: str, limits: ArchiveLimits, tmp_path: Path
) -> None:
    """Other durations of the configuration are at most an hour."""
    file = tmp_path / "gateway.toml"
    file.write_text(f"[store]\n{settings}\n")
    assert load(file).store.archive_limits == limits


@pytest.mark.parametrize("setting", ['archive_retention = "-1s"', 'archive_retention = "20y"'])
def test_a_wrong_retention_is_named(setting: str, tmp_path: Path) -> None:
    """The error says what is needed."""
    file = tmp_path / "gateway.toml"
    file.write_text(f"[store]\n{setting}\n")
    with pytest.raises(ConfigError, match=r"store\.archive_retention: "):
        load(file)


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ("", r'gateway\.toml: visibility = "owner" of backend east needs the table \[auth\]'),
        ('[auth.stdio]\nsubject = "me"\n[store]\nurl = "none"\n', "needs a store"),
    ],
)
def test_a_visibility_needs_callers_and_a_store(tables: str, problem: str, tmp_path: Path) -> None:
    """The identity of MCP over stdio is one of callers too."""
    backend = '[[backends]]\nname = "east"\ntarget = "127.0.0.1:1"\nvisibility = "owner"\n'
    file = tmp_path / "gateway.toml"
    file.write_text(f"{tables}{backend}")
    with pytest.raises(ConfigError, match=problem):
        load(file)
    file.write_text(f'[auth.stdio]\nsubject = "me"\n{backend}')
    assert load(file).needs_owners
