"""Static tokens: random texts, of which a file has only the hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import re
import secrets
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lro_gateway.access.identity.refusals import token_expired, token_unknown
from lro_gateway.principal import Principal

logger: Final = logging.getLogger(__name__)

PREFIX: Final = "lro_"
ISSUER: Final = "static-tokens"
"""The issuer of principals with a static token. No issuer of JWTs has it, because it is no URL."""
_TOKEN: Final = re.compile(r"lro_(?P<id>[a-z2-7]{8})_(?P<secret>[A-Za-z0-9_-]{43})\Z")
_ID: Final = re.compile(r"[a-z2-7]{8}\Z")
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_KEYS: Final = frozenset({"hash", "subject", "tenant", "groups", "scopes", "expires"})
_BETWEEN_LOOKS: Final = 1.0
"""Seconds between two looks whether the file has changed."""


class TokensError(Exception):
    """A file of tokens cannot be used; the text tells why, without a token or a hash."""


@dataclass(frozen=True, slots=True)
class StaticToken:
    """An entry of the file of tokens: the hash of the whole token, and its caller."""

    id: str
    hash: str
    principal: Principal

    @property
    def line(self) -> str:
        """The line of the file."""
        caller = self.principal
        parts = [f"hash = {json.dumps(self.hash)}", f"subject = {_toml(caller.subject)}"]
        if caller.tenant:
            parts.append(f"tenant = {_toml(caller.tenant)}")
        for name, values in (("groups", caller.groups), ("scopes", caller.scopes)):
            if values:
                parts.append(f"{name} = [{', '.join(map(_toml, sorted(values)))}]")
        if math.isfinite(caller.expires):
            end = datetime.fromtimestamp(caller.expires, UTC)
            parts.append(f"expires = {end:%Y-%m-%dT%H:%M:%SZ}")
        return f"{self.id} = {{ {', '.join(parts)} }}"


def _toml(text: str) -> str:
    # A string of JSON in ASCII is a basic string of TOML, except for surrogates.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def new_token(
    subject: str,
    *,
    tenant: str = "",
    groups: Iterable[str] = (),
    scopes: Iterable[str] = (),
    expires: float = math.inf,
) -> tuple[str, StaticToken]:
    """Return a new token, and what the file has of it."""
    id_ = "".join(secrets.choice(_LETTERS) for _ in range(8))
    token = f"{PREFIX}{id_}_{secrets.token_urlsafe(32)}"
    principal = Principal(
        subject,
        ISSUER,
        tenant,
        groups=frozenset(groups),
        scopes=frozenset(scopes),
        expires=expires,
    )
    return token, StaticToken(id_, _hash(token), principal)


def _hash(token: str) -> str:
    # A token is 256 random bits, so nobody can guess it from a fast hash.
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def read_tokens(file: Path) -> Mapping[str, StaticToken]:
    """Return the tokens of a file by their ids; raise `TokensError` if one cannot be used."""
    try:
        entries = tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise TokensError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TokensError(f"{file} is not TOML: {error}") from None
    return {id_: _entry(file, id_, entry) for id_, entry in entries.items()}


def _entry(file: Path, id_: str, entry: object) -> StaticToken:
    if id_.startswith(PREFIX):
        # Whoever has mixed up both lines must not find the token in a log.
        raise TokensError(
            f"{file}: a token itself is no name of an entry; append the second line that"
            " `lro-gateway token new` prints"
        )
    if not _ID.match(id_) or not isinstance(entry, dict):
        raise TokensError(
            f"{file}: {id_!r} is no entry of a token; `lro-gateway token new` prints one"
        )
    if unknown := sorted(entry.keys() - _KEYS):
        raise TokensError(f"{file}: {id_}.{unknown[0]}: there is no such key")
    found = entry.get("hash")
    if not isinstance(found, str) or not _HASH.match(found):
        raise TokensError(f"{file}: {id_}.hash: a text such as sha256:... is needed")
    subject, tenant = entry.get("subject", ""), entry.get("tenant", "")
    if not isinstance(subject, str) or not subject:
        raise TokensError(f"{file}: {id_}.subject: text in quotes is needed")
    if not isinstance(tenant, str):
        raise TokensError(f"{file}: {id_}.tenant: text in quotes is needed")
    groups, scopes = (_list(file, id_, entry, key) for key in ("groups", "scopes"))
    expires = _expires(file, id_, entry)
    principal = Principal(subject, ISSUER, tenant, groups=groups, scopes=scopes, expires=expires)
    return StaticToken(id_, found, principal)


def _list(file: Path, id_: str, entry: Mapping[str, Any], key: str) -> frozenset[str]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TokensError(f'{file}: {id_}.{key}: a list of texts is needed, such as ["read"]')
    return frozenset(value)


def _expires(file: Path, id_: str, entry: Mapping[str, Any]) -> float:
    value = entry.get("expires")
    if value is None:
        return math.inf
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TokensError(
            f"{file}: {id_}.expires: a time with an offset is needed, such as 2030-01-31T12:00:00Z"
        )
    return value.timestamp()


class StaticTokens:
    """The tokens of a file, which is read again when it has changed.

    Without the file, no token is valid. If the file has a mistake, the tokens that were read last
    remain valid, and the log tells the mistake.
    """

    def __init__(
        self,
        file: Path,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file. Raises `TokensError` if it cannot be used."""
        self._file = file
        self._clock = clock
        self._ticks = ticks
        self._version = _version(file)
        self._tokens = read_tokens(file)
        self._looked = ticks()

    def __len__(self) -> int:
        return len(self._tokens)

    def principal(self, token: str) -> Principal:
        """Return the caller with this token. Raises UNAUTHENTICATED if the token is not valid."""
        if self._ticks() - self._looked >= _BETWEEN_LOOKS:
            self._looked = self._ticks()
            self._refresh()
        matched = _TOKEN.match(token)
        found = self._tokens.get(matched["id"]) if matched else None
        if found is None or not hmac.compare_digest(found.hash, _hash(token)):
            raise token_unknown()
        if found.principal.expires <= self._clock():
            raise token_expired()
        return found.principal

    def _refresh(self) -> None:
        version = _version(self._file)
        if version == self._version:
            return
        self._version = version
        if version is None:
            logger.warning("%s does not exist any more, so no static token is valid", self._file)
            self._tokens = {}
            return
        try:
            self._tokens = read_tokens(self._file)
        except TokensError as error:
            logger.warning("the changed file of tokens is not used: %s", error)
        else:
            logger.info("%s has %d tokens now", self._file, len(self._tokens))


def _version(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
