"""Secrets of the configuration: where they are read, and that nothing shows them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from lro_gateway.config.loading import ConfigError, load
from lro_gateway.config.models import GatewayConfig
from tests.config.test_loading import Write, mistakes


def test_keys_are_read_from_files_and_from_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is base64 on any number of lines; `repr` never shows a key."""
    first, second = bytes(range(32)), bytes(range(40))
    file = write('[server]\nkeys = ["env:TEST_KEY", "ring/second"]')
    monkeypatch.setenv("TEST_KEY", base64.b64encode(first).decode())
    (file.parent / "ring").mkdir()
    (file.parent / "ring" / "second").write_bytes(base64.encodebytes(second))
    loaded = load(file)
    assert [key.get_secret_value() for key in loaded.server.keys] == [first, second]
    assert base64.b64encode(first).decode() not in repr(loaded)
    assert repr(first)[2:-1] not in repr(loaded)


def test_keys_that_cannot_be_used_are_refused_without_showing_them(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message names the location of the key and the reason."""
    keys = ["env:NO_KEY", "none", "text", "bytes", "env:SHORT", "env:EMPTY"]
    file = write(f"[server]\nkeys = {keys}")
    (file.parent / "text").write_text("sesame, open")
    (file.parent / "bytes").write_bytes(b"\xff\x00")
    monkeypatch.setenv("SHORT", "c2VzYW1l")
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(ConfigError) as caught:
        load(file)
    needed = "at least 32 random bytes are needed, such as the output of `openssl rand -base64 32`"
    location = f"{file}: server.keys"
    assert caught.value.mistakes == (
        f"{location}[0]: the environment has no variable 'NO_KEY'",
        f"{location}[1]: there is no file {file.parent / 'none'}",
        f"{location}[2]: the content of text is not base64",
        f"{location}[3]: {file.parent / 'bytes'} has bytes that are not text in UTF-8",
        f"{location}[4]: the key in env:SHORT has 6 bytes; {needed}",
        f"{location}[5]: the key in env:EMPTY has 0 bytes; {needed}",
    )


def test_a_key_in_place_of_its_file_is_refused_without_showing_it(write: Write) -> None:
    """A key may be too long for the name of a file, or may be the key of another gateway."""
    for size in (16, 32, 400):
        key = base64.b64encode(b"\xfb" * size).decode()
        (mistake,) = mistakes(write(f'[server]\nkeys = ["{key}"]'))
        assert mistake == (
            "gateway.toml: server.keys[0]: there is no such file; write the path of a file that has"
            " the key, or env:NAME, and not the key itself"
        )


def test_a_key_file_may_be_marked_as_a_file(write: Write) -> None:
    """`file:PATH` means the same as in the table `metadata`."""
    file = write('[server]\nkeys = ["file:gateway.key"]')
    (file.parent / "gateway.key").write_text(base64.b64encode(bytes(32)).decode())
    assert [key.get_secret_value() for key in load(file).server.keys] == [bytes(32)]


METADATA = """
[[backends]]
name = "b"
target = "h:1"
metadata = { x-env = "env:TEST_TOKEN", x-file = "file:secrets/token", x-text = "Bearer canary-3" }
"""


def values(config: GatewayConfig) -> dict[str, str]:
    """Return the metadata of the only backend."""
    (backend,) = config.backends
    return {key: value.get_secret_value() for key, value in backend.metadata.items()}


def test_metadata_is_read_from_the_environment_and_from_files(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file's path is relative to the configuration. Line breaks at the end are no part of it."""
    monkeypatch.setenv("TEST_TOKEN", "canary-1\n")
    file = write(METADATA)
    (file.parent / "secrets").mkdir()
    (file.parent / "secrets" / "token").write_bytes(b"canary-2 \r\n\n")
    config = load(file)
    assert values(config) == {
        "x-env": "canary-1",
        "x-file": "canary-2 ",
        "x-text": "Bearer canary-3",
    }
    for shown in (repr(config), str(config), repr(config.model_dump()), config.model_dump_json()):
        assert "canary" not in shown


def test_metadata_that_cannot_be_read_is_a_mistake_that_names_the_setting(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message has the value."""
    monkeypatch.setenv("EMPTY", "\n")
    monkeypatch.setenv("LINES", "canary\ncanary")
    monkeypatch.delenv("NOT_SET", raising=False)
    (tmp_path / "binary").write_bytes(b"canary\xff")
    (tmp_path / "directory").mkdir()
    file = write(
        """
        [[backends]]
        name = "b"
        target = "h:1"
        [backends.metadata]
        a = "env:NOT_SET"
        b = "env:EMPTY"
        c = "env:LINES"
        d = "file:none"
        e = "file:binary"
        f = "file:directory"
        g = "canary\\tcanary"
        h = 1
        """
    )
    at = "gateway.toml: backends[0].metadata"
    unprintable = "the value has characters that are not printable ASCII"
    assert mistakes(file) == [
        f"{at}.a: the environment has no variable 'NOT_SET'",
        f"{at}.b: env:EMPTY is empty",
        f"{at}.c: {unprintable}",
        f"{at}.d: there is no file none",
        f"{at}.e: binary has bytes that are not text in UTF-8",
        f"{at}.f: there is no file directory",
        f"{at}.g: {unprintable}",
        f"{at}.h: text in quotes is needed",
    ]


def test_an_error_of_the_model_shows_no_value() -> None:
    """A program that makes the configuration itself may log the error."""
    backend = {"name": "b", "target": "h:1", "metadata": {"a": "canary\t"}, "canry": "canary"}
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        GatewayConfig.model_validate({"backends": [backend]})
    assert "canary" not in str(caught.value)
