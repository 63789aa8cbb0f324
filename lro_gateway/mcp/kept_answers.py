"""The JSON of long answers that are no operation, which clients read as resources."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cachetools import TTLCache

from lro_gateway.access.sealing import Sealer, UnsealError
from lro_gateway.mcp.spool import OWNER_END, Spool
from lro_gateway.principal import Principal

logger: Final = logging.getLogger(__name__)

_SCHEME: Final = "answer://"
_LIMIT: Final = 64 * 2**20
_SHARE: Final = 4
"""One principal may have one of this many parts of the limit, so it drops no answer of others."""
_SECONDS: Final = 600.0
_TOKEN_BYTES: Final = 16
_URI: Final = re.compile(rf"{_SCHEME}([A-Za-z0-9_-]{{22}})")
_PURPOSE: Final = "kept_answer"


@dataclass(frozen=True, slots=True)
class _Kept:
    caller: Principal
    text: str


def _size_of(kept: _Kept) -> int:
    return len(kept.text)


class KeptAnswers:
    """Keeps texts for ten minutes, and at most 64 MiB of them, each for the caller that got it.

    One principal has at most 16 MiB. Its oldest texts make room for its new ones.
    Without a `directory`, only this process has them. Processes with the same `directory` and the
    same keys share them: a file holds each text, sealed for its caller.
    """

    def __init__(self, sealer: Sealer, directory: Path | None = None) -> None:
        self._sealer = sealer
        self._spool = Spool(directory, _LIMIT, _SECONDS) if directory is not None else None
        self._kept: TTLCache[str, _Kept] = TTLCache(_LIMIT, _SECONDS, getsizeof=_size_of)

    async def keep(self, caller: Principal | None, text: str) -> str:
        """Keep a text, and return its URI.

        A text that is larger than the limit is not kept, nor is one that has no caller, because
        nobody may read it.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        uri = f"{_SCHEME}{token}"
        if caller is None:
            return uri
        self._remember(uri, caller, text)
        if self._spool is not None:
            try:
                await asyncio.to_thread(self._write, self._spool, caller, token, text)
            except OSError as error:
                logger.warning("other workers cannot read an answer of this one: %s", error)
        return uri

    async def find(self, caller: Principal, uri: str) -> str | None:
        """Return the text that is kept for this caller under a URI, or None."""
        kept = self._kept.get(uri)
        if kept is not None:
            return kept.text if kept.caller == caller else None
        found = _URI.fullmatch(uri)
        if found is None or self._spool is None:
            return None
        text = await asyncio.to_thread(self._read, self._spool, caller, found[1])
        if text is not None:
            self._remember(uri, caller, text)
        return text

    def _remember(self, uri: str, caller: Principal, text: str) -> None:
        limit = _limit_of(caller)
        if len(text) > limit:
            return
        if limit < _LIMIT:
            room = limit - len(text)
            own = {each: kept for each, kept in self._kept.items() if kept.caller == caller}
            for each in reversed(own):
                room -= len(own[each].text)
                if room < 0:
                    del self._kept[each]
        self._kept[uri] = _Kept(caller, text)

    def _write(self, spool: Spool, caller: Principal, token: str, text: str) -> None:
        content = text.encode("utf-8", "surrogatepass")
        sealed = self._sealer.seal(content, _PURPOSE, _context(caller, token)).encode()
        if len(sealed) <= (limit := _limit_of(caller)):
            spool.write(_file(caller, token), sealed, limit if limit < _LIMIT else None)

    def _read(self, spool: Spool, caller: Principal, token: str) -> str | None:
        if (sealed := spool.read(_file(caller, token))) is None:
            return None
        try:
            content = self._sealer.unseal(sealed.decode(), _PURPOSE, _context(caller, token))
        except (UnsealError, UnicodeDecodeError):
            return None
        return content.decode("utf-8", "surrogatepass")


def _context(caller: Principal, token: str) -> tuple[str, ...]:
    return (*caller.identity, token)


def _limit_of(caller: Principal) -> int:
    """Return the bytes that a caller may have. Callers without an identity share all of them."""
    return _LIMIT // _SHARE if any(caller.identity) else _LIMIT


def _file(caller: Principal, token: str) -> str:
    """Return the name of a file, whose beginning is the same for all files of a caller."""
    owner = json.dumps(caller.identity).encode("utf-8", "surrogatepass")
    return f"{hashlib.blake2b(owner, digest_size=8).hexdigest()}{OWNER_END}{token}"
