"""The keys of an issuer are read from a file, from a URL, and by discovery."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from lro_gateway.access.identity.keys import (
    ALGORITHMS,
    DiscoverySource,
    FileSource,
    KeysError,
    KeySource,
    UrlSource,
    read_keys,
)
from tests.access.authorization_server import AuthorizationServer
from tests.access.token_signer import part


def jwk(key: Any, **changes: Any) -> dict[str, Any]:
    """Return a public key as JSON."""
    return {**key.as_dict(private=False), **changes}


EC = ECKey.generate_key("P-256", {"kid": "ec"})
SHORT = (1 << 1023) + 1
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})


def test_a_key_suits_only_its_own_algorithms() -> None:
    """An RSA key without `alg` suits all algorithms of RSA, as with Microsoft's issuers."""
    ec, rsa, pinned = read_keys({"keys": [jwk(EC), jwk(RSA), jwk(RSA, alg="PS256")]})
    suits = [{name for name in ALGORITHMS if key.suits(name)} for key in (ec, rsa, pinned)]
    of_rsa = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert suits == [{"ES256"}, of_rsa, {"PS256"}]


def test_no_algorithm_is_symmetric() -> None:
    """Otherwise a public key could be the secret of a forged token."""
    assert not {"none", "HS256", "HS384", "HS512"} & set(ALGORITHMS)


def test_unusable_keys_are_left_out() -> None:
    """They do not make the others unusable. The private part of a key is dropped."""
    private = ECKey.generate_key("P-256", {"kid": "private"}).as_dict(private=True)
    unusable = [
        OctKey.generate_key(256, {"kid": "oct"}).as_dict(private=True),
        jwk(EC, use="enc"),
        jwk(EC, x="!"),
        jwk(EC, crv="P-1"),
        {"kty": "EC"},
        {"kty": "other"},
        "no object",
        {"kty": "RSA", "kid": "short", "e": "AQAB", "n": part(SHORT.to_bytes(128, "big"))},
    ]
    keys = read_keys({"keys": [*unusable, private, jwk(EC, kid="good")]})
    assert [key.kid for key in keys] == ["private", "good"]
    assert not any(hasattr(key.public, "private_numbers") for key in keys)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "no list 'keys'"),
        ({"keys": {}}, "no list 'keys'"),
        ({"keys": []}, "no key that can verify"),
        ({"keys": [jwk(EC)] * 10_000}, "has 10000 keys, over the limit of 200"),
    ],
)
def test_a_document_without_keys_or_with_too_many_is_refused(document: Any, problem: str) -> None:
    """The text says what is wrong with it."""
    with pytest.raises(KeysError, match=problem):
        read_keys(document)


async def test_a_file_has_the_keys(tmp_path: Path) -> None:
    """A file that is missing or broken is an error."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk(EC)]}))
    assert [key.kid for key in read_keys(await FileSource(file).document())] == ["ec"]
    file.write_text("[" * 100_000)
    with pytest.raises(KeysError, match="is not JSON"):
        await FileSource(file).document()
    file.unlink()
    with pytest.raises(KeysError, match="No such file"):
        await FileSource(file).document()


@pytest.mark.parametrize(
    "source_of",
    [
        lambda server: UrlSource(f"{server.issuer}/jwks", server.ca),
        lambda server: DiscoverySource(server.issuer, server.ca),
    ],
)
async def test_an_issuer_tells_its_keys(
    source_of: Callable[[AuthorizationServer], KeySource], tmp_path: Path
) -> None:
    """The certificate of the issuer is checked, and an outage is an error."""
    async with AuthorizationServer.open(tmp_path) as server:
        source = source_of(server)
        assert [key.kid for key in read_keys(await source.document())] == ["key-1"]
        server.is_down = True
        with pytest.raises(KeysError, match="answered 503"):
            await source.document()
    with pytest.raises(KeysError, match="cannot be reached: Connection refused"):
        await source.document()


async def test_a_compressed_document_is_not_read(tmp_path: Path) -> None:
    """Its bytes could be decompressed to gigabytes before anybody counts them."""
    async with AuthorizationServer.open(tmp_path) as server:
        server.is_bomb = True
        for source in (
            UrlSource(f"{server.issuer}/jwks", server.ca),
            DiscoverySource(server.issuer, server.ca),
        ):
            with pytest.raises(KeysError, match="answered in 'gzip', which was not asked for"):
                await source.document()


async def test_metadata_is_found_at_either_place(tmp_path: Path) -> None:
    """OpenID Connect appends the well-known path, and RFC 8414 inserts it."""
    async with AuthorizationServer.open(tmp_path) as server:
        server.has_openid = False
        assert await DiscoverySource(server.issuer, server.ca).document() == server.signer.jwks()


async def test_metadata_of_another_issuer_is_refused(tmp_path: Path) -> None:
    """Otherwise one issuer could replace the keys of another. A stranger's certificate is too."""
    async with AuthorizationServer.open(tmp_path) as server:
        with pytest.raises(KeysError, match="belongs to another issuer"):
            await DiscoverySource(f"{server.issuer}/", server.ca).document()
        with pytest.raises(KeysError, match="certificate verify failed"):
            await DiscoverySource(server.issuer).document()
