"""The keys of an issuer as the gateway keeps them: refreshed, and the last good ones kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from lro_gateway.access.identity.keys import KeysError, KeySource, SigningKey, read_keys
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import escaped

logger: Final = logging.getLogger(__name__)

PATIENCE: Final = timedelta(seconds=3)
"""The time from the begin of a fetch for which tokens wait for its keys. The fetch goes on."""
_BETWEEN_LOOKS: Final = 5.0
"""Seconds between two fetches that unknown keys cause, because anyone can invent a key's id."""


class KeyCache:
    """The keys of one issuer.

    `on_removal` is called when a key is no longer published. While the issuer cannot be reached,
    the last keys remain. `refresh` is the time between two fetches. Each fetch is one of `tasks`.
    Tokens wait for a fetch until `patience` after its begin.
    """

    def __init__(
        self,
        issuer: str,
        source: KeySource,
        refresh: timedelta,
        on_removal: Callable[[], None],
        tasks: BackgroundTasks,
        clock: Callable[[], float] = time.monotonic,
        patience: timedelta = PATIENCE,
    ) -> None:
        self.issuer = issuer
        self._source = source
        self._interval = refresh.total_seconds()
        self._on_removal = on_removal
        self._tasks = tasks
        self._clock = clock
        self._patience = patience.total_seconds()
        self._keys: tuple[SigningKey, ...] = ()
        self._problem = ""
        self._looked = -_BETWEEN_LOOKS
        self._begun = 0.0
        self._fetching: asyncio.Task[None] | None = None

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """The last keys that were fetched; there are none before the first success."""
        return self._keys

    @property
    def problem(self) -> str:
        """Why the last fetch failed, or an empty text."""
        return self._problem

    async def find(self, kid: str, algorithm: str) -> tuple[SigningKey, ...]:
        """Return the keys that may have signed a token. A token need not name its key.

        For an unknown key, and if there are no keys yet, the keys are fetched again, but not often.
        Raises `KeysError` if there are no keys.
        """
        found = self._matching(kid, algorithm)
        if not found and self._may_look():
            fetching = self._fetch_begun()
            # Callers that send tokens of unknown keys must not wait for an issuer that hangs.
            left = self._begun + self._patience - self._clock()
            await asyncio.wait({fetching}, timeout=max(0.0, left))
            found = self._matching(kid, algorithm)
        if not self._keys:
            raise KeysError(self._problem or "its keys have not arrived yet")
        return found

    def _may_look(self) -> bool:
        if self._fetching is not None:
            return True
        if self._clock() - self._looked < min(_BETWEEN_LOOKS, self._interval):
            return False
        self._looked = self._clock()
        return True

    def _matching(self, kid: str, algorithm: str) -> tuple[SigningKey, ...]:
        return tuple(
            each
            for each in self._keys
            if each.suits(algorithm) and (not kid or each.kid in {kid, ""})
        )

    async def refresh(self) -> None:
        """Fetch the keys. Callers that come meanwhile share the fetch, and it outlives them."""
        await asyncio.shield(self._fetch_begun())

    def _fetch_begun(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._begun = self._clock()
            self._fetching = self._tasks.start(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            keys = read_keys(await self._source.document())
        except KeysError as error:
            self._failed(str(error))
        except Exception:
            logger.exception("the keys of the issuer %s could not be read", self.issuer)
            self._failed("the gateway failed; its log has the reason")
        else:
            self._replace(keys)
        finally:
            self._fetching = None

    def _failed(self, problem: str) -> None:
        kept = "; the last keys remain in use" if self._keys else ""
        logger.warning(
            "the keys of the issuer %s cannot be fetched%s: %s",
            *(self.issuer, kept, escaped(problem)),
        )
        self._problem = problem

    def _replace(self, keys: tuple[SigningKey, ...]) -> None:
        old, self._keys, self._problem = self._keys, keys, ""
        names = ", ".join(escaped(each.kid) or "without id" for each in keys)
        if [_identity(each) for each in old] != [_identity(each) for each in keys]:
            logger.info("the issuer %s has these keys: %s", self.issuer, names)
        if not set(map(_identity, old)) <= set(map(_identity, keys)):
            self._on_removal()

    async def keep_current(self) -> None:
        """Fetch the keys again and again."""
        while True:
            await self.refresh()
            # Without keys nobody can sign in, so the gateway looks sooner.
            pause = self._interval if self._keys else min(_BETWEEN_LOOKS, self._interval)
            await asyncio.sleep(pause)


def _identity(key: SigningKey) -> tuple[str, str, object]:
    numbers = key.public.public_numbers() if hasattr(key.public, "public_numbers") else None
    return key.kid, key.algorithm, numbers or key.public.public_bytes_raw()
