"""Files with secrets that others can read are warned of, and are no mistake."""

from __future__ import annotations

import base64
from pathlib import Path

from lro_gateway.config import loading
from lro_gateway.config.exposed_files import exposed_files
from tests.certificates import Authority
from tests.commands.test_cli import run

KEY = base64.b64encode(bytes(32)).decode()


def written(directory: Path, mode: int) -> Path:
    """Write a configuration with a key, a token and a TLS key in files of this mode."""
    identity = Authority(directory).issue("client")
    (directory / "seal.key").write_text(KEY)
    (directory / "token").write_text("Bearer 5f1e")
    for name in ("seal.key", "token", identity.key.name):
        (directory / name).chmod(mode)
    config = directory / "gateway.toml"
    config.write_text(
        'server = { keys = ["seal.key"] }\n'
        '[[backends]]\nname = "b"\ntarget = "127.0.0.1:1"\ndescriptors = []\n'
        'metadata = { authorization = "file:token" }\n'
        f'tls = {{ cert = "{identity.certificate.name}", key = "{identity.key.name}" }}\n'
    )
    return config


def test_each_file_that_others_can_read_gets_a_warning(tmp_path: Path) -> None:
    """The warning names the setting, the file, its mode and the cure."""
    found = [*exposed_files(loading.load(written(tmp_path, 0o644)))]
    assert [sentence.partition(":")[0] for sentence in found] == [
        "server.keys",
        "backend b",
        "backend b",
    ]
    assert found[0] == (
        f"server.keys: all users of this machine can read {tmp_path / 'seal.key'} (mode 0644);"
        " run chmod 600 seal.key if the gateway's user owns it"
    )
    assert found[1].startswith("backend b: metadata.authorization: all users")
    assert found[2].startswith("backend b: tls.key: all users")


def test_the_files_of_credentials_get_warnings_too(tmp_path: Path) -> None:
    """A token and a client's secret are secrets as others are."""
    for name in ("token", "secret"):
        (tmp_path / name).write_text("sesame")
        (tmp_path / name).chmod(0o644)
    client = 'token_url = "https://login.test/t", client_id = "c", client_secret = "file:secret"'
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[[backends]]\nname = "a"\ntarget = "127.0.0.1:1"\n'
        'credentials = { bearer_file = "token" }\n'
        '[[backends]]\nname = "b"\ntarget = "127.0.0.1:1"\n'
        f"credentials = {{ token_exchange = {{ {client} }} }}\n"
    )
    found = [*exposed_files(loading.load(config))]
    assert [sentence.split(": all users")[0] for sentence in found] == [
        "backend a: credentials.bearer_file",
        "backend b: credentials.token_exchange.client_secret",
    ]
    assert not [sentence for sentence in found if "sesame" in sentence]


def test_a_file_that_its_group_can_read_gets_a_warning(tmp_path: Path) -> None:
    """The group may have other members than the gateway's user."""
    found = [*exposed_files(loading.load(written(tmp_path, 0o640)))]
    assert len(found) == 3
    assert all("its group of this machine can read" in sentence for sentence in found)


def test_a_file_of_its_owner_alone_gets_no_warning(tmp_path: Path) -> None:
    """A link counts as the file to which it leads, as in the volumes of Kubernetes."""
    config = loading.load(written(tmp_path, 0o600))
    assert [*exposed_files(config)] == []


def test_check_shows_warnings_and_succeeds_in_spite_of_them(tmp_path: Path) -> None:
    """The backend is down, which is the only problem."""
    ended = run("check", "--config", str(written(tmp_path, 0o644)), "--port", "0")
    warned, _, problems = ended.stdout.partition("1 problem")
    assert warned.count("can read") == 3
    assert "can read" not in problems
    assert "5f1e" not in ended.stdout + ended.stderr
    assert KEY not in ended.stdout + ended.stderr


def test_serve_logs_each_warning_once(tmp_path: Path) -> None:
    """The command ends because its port is no port of this machine's user."""
    config = written(tmp_path, 0o644)
    text = config.read_text().replace("server = {", 'server = { host = "192.0.2.1",')
    remote = '[[backends]]\nname = "r"\ntarget = "192.0.2.1:1"\nmetadata = { cookie = "5f1e" }\n'
    config.write_text(text.replace('name = "b"', 'name = "b"\noperations = ["b/*"]') + remote)
    ended = run("serve", "--config", str(config), "--allow-anonymous")
    assert ended.returncode == 2
    assert ended.stderr.count("can read") == 3
    assert ended.stderr.count("backend r: metadata.cookie goes over the network") == 1
