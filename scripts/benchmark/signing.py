"""The issuer of the benchmark: its key in a file, and a token of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from scripts.benchmark.processes import SCRATCH

_ISSUER: Final = "https://issuer.example"
_AUDIENCE: Final = "benchmark"
_LIFE: Final = 86_400


@dataclass(frozen=True, slots=True)
class Signed:
    """The table `[[auth.issuers]]` of a gateway, and a token that it accepts."""

    issuer: dict[str, Any]
    token: str


@contextmanager
def signed() -> Iterator[Signed]:
    """Make a key of the most common kind, and a token with the claims that most issuers write."""
    key = rsa.generate_private_key(65537, 2048)
    public = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    now = int(time.time())
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": "6f1c2a1e-8f0b-4c43-9c6e-2f6d1f0f7a11",
        "iat": now,
        "nbf": now,
        "exp": now + _LIFE,
        "azp": "agent",
        "org_id": "data",
        "scope": "read start",
        "groups": ["oncall", "data"],
        "email": "alice@acme.example",
    }
    with TemporaryDirectory(prefix=SCRATCH) as directory:
        file = Path(directory) / "jwks.json"
        file.write_text(json.dumps({"keys": [{**public, "kid": "1", "use": "sig"}]}))
        issuer = {"issuer": _ISSUER, "audience": _AUDIENCE, "jwks_file": str(file)}
        yield Signed(issuer, jwt.encode(claims, key, "RS256", {"kid": "1"}))
