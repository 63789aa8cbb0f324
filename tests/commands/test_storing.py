"""Which store a command uses, and `lro-gateway store upgrade`."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from lro_gateway.commands.store_choice import with_store
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.store import StoreConfig
from lro_gateway.records.file_lock import file_lock
from lro_gateway.records.location import NOWHERE, Location
from lro_gateway.records.upgrade import LATEST
from tests.commands.test_cli import failed, refused, run
from tests.processes import served

_BACKEND = {"name": "down", "target": "127.0.0.1:1"}
_OPTION = ("--backend", "down=127.0.0.1:1", "--port", "0")
_SQLITE = Location(Path("/var/lib/lro-gateway/store.sqlite3"))
_SHARED = Location(dsn="postgresql://db.internal/records")


def _configured(location: Location | None) -> GatewayConfig:
    return GatewayConfig(store=StoreConfig(url=location or "auto"))


def test_a_process_has_a_file_in_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is where the platform keeps such files."""
    monkeypatch.delenv("LRO_GATEWAY_STORE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    config, note = with_store(_configured(None), workers=1, stdio=False)
    assert config.store.location == Location(Path("/state/lro-gateway/store.sqlite3"))
    assert note == ""


@pytest.mark.parametrize(
    ("workers", "stdio", "reason"),
    [
        (2, False, "several workers cannot share"),
        (1, True, "each client starts a process"),
        (1, False, "this user has no home directory"),
    ],
)
def test_processes_that_cannot_have_the_file_run_without_one(
    workers: int, stdio: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They say so, because they forget what they started."""
    monkeypatch.delenv("LRO_GATEWAY_STORE", raising=False)
    monkeypatch.setattr("platformdirs.user_state_path", lambda name: Path("~/.local/state", name))
    config, note = with_store(_configured(None), workers=workers, stdio=stdio)
    assert config.store.location is NOWHERE
    assert reason in note


def test_a_gateway_that_hides_operations_never_runs_without_a_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither if it would have none, nor if another process has its file."""
    monkeypatch.delenv("LRO_GATEWAY_STORE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    settings = {
        "auth": {"stdio": {"subject": "me"}},
        "backends": [{**_BACKEND, "visibility": "owner"}],
    }
    hiding = GatewayConfig.model_validate(settings)
    with pytest.raises(ConfigError, match=r"needs a store.*each client starts a process"):
        with_store(hiding, workers=1, stdio=True)
    config, _ = with_store(hiding, workers=1, stdio=False)
    assert config.store.location.file == Path("/state/lro-gateway/store.sqlite3")
    assert not config.store.location.is_default
    assert with_store(_configured(None), workers=1, stdio=False)[0].store.location.is_default


def test_the_environment_has_the_url_of_a_configuration_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The configuration decides if both have one."""
    monkeypatch.setenv("LRO_GATEWAY_STORE", "postgresql://db.internal/records")
    assert with_store(_configured(None), workers=2, stdio=False)[0] == _configured(_SHARED)
    assert with_store(_configured(_SQLITE), workers=1, stdio=True)[0] == _configured(_SQLITE)
    monkeypatch.setenv("LRO_GATEWAY_STORE", "mysql://gateway:hunter2@db/records")
    with pytest.raises(ConfigError, match="LRO_GATEWAY_STORE: a URL is needed") as caught:
        with_store(_configured(None), workers=1, stdio=False)
    assert "hunter2" not in str(caught.value)


def test_workers_refuse_a_file(tmp_path: Path) -> None:
    """A file belongs to one process, and `check` refuses it as `serve` does."""
    (tmp_path / "g.toml").write_text('[store]\nurl = "sqlite:///store.sqlite3"\n')
    for command in ("serve", "check"):
        options = (command, "--config", "g.toml", "--workers", "2", *_OPTION)
        (message,) = refused(*options, directory=tmp_path)
        assert message.startswith("store.url: a file of SQLite belongs to one process at a time")


async def test_a_second_gateway_with_the_file_is_refused(tmp_path: Path) -> None:
    """`check` is not, because an operator checks a configuration before a restart with it."""
    url = f"sqlite:///{tmp_path}/store.sqlite3"
    async with served(tmp_path, _BACKEND, tables={"store": {"url": url}}) as first:
        config = ("--config", str(tmp_path / "gateway.toml"), "--port", "0")
        (message,) = await asyncio.to_thread(failed, "serve", *config)
        assert f"another process (pid {first.process.pid}) uses the store" in message
        (message,) = await asyncio.to_thread(failed, "store", "upgrade", *config[:2])
        assert f"another process (pid {first.process.pid}) uses the store" in message
        checked = await asyncio.to_thread(run, "check", *config)
        assert f"  SQLite at {tmp_path}/store.sqlite3, schema {LATEST}" in checked.stdout
        assert "store: " not in checked.stdout
        first.process.send_signal(signal.SIGTERM)
        assert await first.process.wait() == 0
    async with (
        served(tmp_path, _BACKEND, tables={"store": {"url": url}}) as second,
        httpx.AsyncClient() as client,
    ):
        assert (await client.get(f"{second.url}/livez")).is_success


async def test_a_second_gateway_of_a_user_runs_without_the_file_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has configured that file, so two gateways for a trial must both start."""
    monkeypatch.delenv("LRO_GATEWAY_STORE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with file_lock(tmp_path / "state" / "lro-gateway" / "store.sqlite3"):
        async with served(tmp_path, _BACKEND) as second, httpx.AsyncClient() as client:
            line = await second.logged("runs without a store")
            refused = await client.get(f"{second.url}/v1/operations:mine")
    assert " WARNING lro_gateway.gateway: " in line
    assert f"another process (pid {os.getpid()}) uses the store {tmp_path}" in line
    assert refused.json()["error"]["details"][0]["reason"] == "NO_STORE"


def test_an_upgrade_tells_what_it_did(tmp_path: Path) -> None:
    """The command is for operators who upgrade before they start the new version."""
    (tmp_path / "g.toml").write_text('[store]\nurl = "sqlite:///store.sqlite3"\n')
    command = ("store", "upgrade", "--config", "g.toml")
    ended = [run(*command, directory=tmp_path) for _ in range(2)]
    assert [(each.returncode, each.stderr) for each in ended] == [(0, "")] * 2
    assert [each.stdout.rpartition("store.sqlite3 ")[2] for each in ended] == [
        f"is new, and has schema {LATEST}\n",
        f"has schema {LATEST} already\n",
    ]
    assert refused("store", "upgrade") == ['store.url is "none", so there is nothing to upgrade']
