"""The public keys of an issuer: a JWKS document (RFC 7517), and where it comes from."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import httpx2
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from lro_gateway.errors import unreached

ALGORITHMS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    **{f"{family}{bits}": ("RSA", ()) for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", ("P-256",)),
    "ES384": ("EC", ("P-384",)),
    "ES512": ("EC", ("P-521",)),
    "EdDSA": ("OKP", ("Ed25519", "Ed448")),
}
"""The kind of key and the curves of each algorithm of signatures. None of them is symmetric."""

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_SHORTEST_RSA: Final = 2048
_MOST_KEYS: Final = 200
_LARGEST: Final = 1024 * 1024
_DEADLINE: Final = 5.0
"""Seconds within which the document of an issuer must arrive."""
_PLAIN: Final = "identity"
"""The encoding of answers, because a small one could be decompressed to gigabytes."""
_ACCEPTED: Final = {"accept": "application/json", "accept-encoding": _PLAIN}
_OPENID: Final = "/.well-known/openid-configuration"
_OAUTH: Final = "/.well-known/oauth-authorization-server"


class KeysError(Exception):
    """The gateway has not got the keys of an issuer. The text tells why."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key. `kid` and `algorithm` are empty if the document does not state them."""

    kid: str
    kind: str
    curve: str
    algorithm: str
    public: Any

    def suits(self, algorithm: str) -> bool:
        """Return whether the key may verify signatures of this algorithm."""
        kind, curves = ALGORITHMS[algorithm]
        stated = self.algorithm in {"", algorithm}
        return stated and self.kind == kind and (not curves or self.curve in curves)


def read_keys(document: object) -> tuple[SigningKey, ...]:
    """Return the usable keys of a JWKS document.

    Raises `KeysError` if there are none, or too many, of which to read all would take too long.
    Symmetric keys, keys for encryption, RSA keys that are too short, and keys of unknown kinds are
    left out.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeysError("the document has no list 'keys', so it is no JWKS")
    if len(entries) > _MOST_KEYS:
        raise KeysError(f"the JWKS has {len(entries)} keys, over the limit of {_MOST_KEYS}")
    keys = tuple(_keys(each for each in entries if isinstance(each, dict)))
    if not keys:
        raise KeysError("the JWKS has no key that can verify a signature")
    return keys


def _keys(entries: Iterable[dict[str, Any]]) -> Iterable[SigningKey]:
    kinds = {kind for kind, _ in ALGORITHMS.values()}
    for entry in entries:
        if entry.get("kty") not in kinds or entry.get("use", "sig") != "sig":
            continue
        try:
            public = PyJWK({k: v for k, v in entry.items() if k not in _PRIVATE}).key
        except (PyJWTError, ValueError, TypeError):
            continue
        if isinstance(public, RSAPublicKey) and public.key_size < _SHORTEST_RSA:
            continue
        kid, curve, stated = (str(entry.get(name, "")) for name in ("kid", "crv", "alg"))
        yield SigningKey(kid, entry["kty"], curve, stated, public)


class KeySource(Protocol):
    """Where the JWKS of an issuer comes from."""

    async def document(self) -> object:
        """Return the JWKS document as JSON. Raises `KeysError` if this fails."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A JWKS in a file."""

    file: Path

    async def document(self) -> object:
        """Read the file."""
        try:
            return json.loads(await asyncio.to_thread(self.file.read_bytes))
        except OSError as error:
            raise KeysError(f"{self.file} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise KeysError(f"{self.file} is not JSON") from error


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A JWKS at a URL. `ca` is the file of the authority that the gateway trusts there."""

    url: str
    ca: Path | None = None

    async def document(self) -> object:
        """Fetch the document."""
        async with _client(self.ca) as client:
            return await _fetch(client, self.url)


@dataclass(frozen=True, slots=True)
class DiscoverySource:
    """A JWKS whose URL the metadata of the issuer tells (OpenID Connect Discovery, RFC 8414)."""

    issuer: str
    ca: Path | None = None

    async def document(self) -> object:
        """Fetch the metadata, and then the JWKS."""
        async with _client(self.ca) as client:
            metadata = await self._metadata(client)
            if not isinstance(metadata, dict) or metadata.get("issuer") != self.issuer:
                raise KeysError(
                    "the metadata belongs to another issuer; write auth.issuers.issuer exactly as"
                    " the metadata says it"
                )
            url = metadata.get("jwks_uri")
            if not isinstance(url, str) or not url.startswith(("https://", _scheme(self.issuer))):
                raise KeysError("the metadata has no jwks_uri with https")
            return await _fetch(client, url)

    async def _metadata(self, client: httpx2.AsyncClient) -> object:
        base = self.issuer.rstrip("/")
        try:
            return await _fetch(client, base + _OPENID)
        except KeysError as openid:
            scheme, _, rest = base.partition("://")
            host, slash, path = rest.partition("/")
            try:
                return await _fetch(client, f"{scheme}://{host}{_OAUTH}{slash}{path}")
            except KeysError:
                raise openid from None


def _scheme(url: str) -> str:
    return url.partition("://")[0] + "://"


def _client(ca: Path | None) -> httpx2.AsyncClient:
    try:
        trust = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise KeysError(f"{ca} is no file of certificates: {error.strerror}") from error
    # A redirect could lead to an address that nobody has configured.
    return httpx2.AsyncClient(verify=trust, timeout=_DEADLINE, follow_redirects=False)


async def _fetch(client: httpx2.AsyncClient, url: str) -> object:
    """Return the JSON at a URL, which has a limited size and must arrive within a deadline."""
    content = b""
    try:
        async with (
            asyncio.timeout(_DEADLINE),
            client.stream("GET", url, headers=_ACCEPTED) as response,
        ):
            if response.status_code != 200:
                raise KeysError(f"{url} answered {response.status_code}")
            encoding = response.headers.get("content-encoding", _PLAIN)
            if encoding != _PLAIN:
                raise KeysError(f"{url} answered in {encoding!r}, which was not asked for")
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > _LARGEST:
                    raise KeysError(f"the document at {url} is larger than {_LARGEST} bytes")
    except TimeoutError as error:
        raise KeysError(f"{url} did not answer within {_DEADLINE:g} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise KeysError(f"{url} cannot be reached: {unreached(error)}") from error
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise KeysError(f"{url} did not answer with JSON") from error
