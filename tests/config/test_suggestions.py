"""Misspelt keys: each is reported with the key that is probably meant, at every depth."""

from __future__ import annotations

import pytest

from lro_gateway.config.models import GatewayConfig
from tests.config.test_loading import Write, mistakes

BACKEND = '[[backends]]\nname = "b"\ntarget = "h:1"\n'


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("[sever]\nport = 1", "sever", "server"),
        ("[[backend]]", "backend", "backends"),
        ("[Server]", "Server", "server"),
        ("[server]\nprot = 1", "server.prot", "port"),
        ("[server]\nmax-body-bytes = 1", "server.max-body-bytes", "max_body_bytes"),
        ("[server]\nallowedHosts = []", "server.allowedHosts", "allowed_hosts"),
        (f"{BACKEND}pattern = []\ndescriptor = []", "backends[0].descriptor", "descriptors"),
        (f"{BACKEND}tls = {{ sever_name = 'x' }}", "backends[0].tls.sever_name", "server_name"),
        (
            f"{BACKEND}hints = {{ '*/Purge' = {{ readonly = true }} }}",
            "backends[0].hints.*/Purge.readonly",
            "read_only",
        ),
    ],
)
def test_a_misspelt_key_is_reported_with_the_right_one(
    write: Write, text: str, key: str, meant: str
) -> None:
    """Upper case and hyphens are mistakes of spelling too."""
    assert f"gateway.toml: {key}: there is no such key; did you mean {meant}?" in mistakes(
        write(text)
    )


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("port = 1", "port", "port, under [server]"),
        ("portt = 1", "portt", "port, under [server]"),
        ("target = 'h:1'", "target", "target, under [[backends]]"),
        ("[server]\ndeadline = '1s'", "server.deadline", "deadline, under [[backends]]"),
        (f"{BACKEND}ca = 'x'", "backends[0].ca", "ca, in the table tls of a backend"),
        (
            f"{BACKEND}read_only = true",
            "backends[0].read_only",
            "read_only, in an entry of hints",
        ),
        (
            f"{BACKEND}allowed_hosts = []",
            "backends[0].allowed_hosts",
            "allowed_hosts, under [server]",
        ),
    ],
)
def test_a_key_in_the_wrong_table_is_reported_with_the_right_one(
    write: Write, text: str, key: str, meant: str
) -> None:
    """TOML puts a key into the last table above it, so keys easily get into a wrong table."""
    assert mistakes(write(text)) == [
        f"gateway.toml: {key}: there is no such key here; did you mean {meant}?"
    ]


def test_a_key_without_a_likeness_is_reported_with_the_keys_there_are(write: Write) -> None:
    """A table with many keys is described in the example configuration."""
    text = "[zoo]\n" + BACKEND + "zoo = 1\ntls = { zoo = 1 }"
    none = "there is no such key; the keys are"
    assert mistakes(write(text)) == [
        f"gateway.toml: backends[0].tls.zoo: {none} ca, cert, key, server_name",
        f"gateway.toml: backends[0].zoo: {none} in gateway.example.toml",
        f"gateway.toml: zoo: {none} {', '.join(GatewayConfig.model_fields)}",
    ]
