"""Tokens that are kept until shortly before they end, and fetched once for all who need them."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from lro_gateway.backends.credentials.failures import CredentialsError, unavailable
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import escaped

logger: Final = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds between two attempts after the first failure, and at most."""
_BETWEEN_DROPS: Final = 5.0
"""Seconds between two refused tokens that are replaced, because a backend may refuse every one."""
_MARGIN: Final = 60.0
"""A token is renewed this many seconds before its end, or after four fifths of a shorter life."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and the seconds from now on in which it is renewed and in which it ends."""

    value: str = field(repr=False)
    renewed_in: float
    ends_in: float = math.inf

    @classmethod
    def lasting(cls, value: str, seconds: float) -> Token:
        """Return a token with a life of so many seconds."""
        return cls(value, max(seconds - _MARGIN, seconds * 0.8), seconds - min(2, seconds * 0.1))


class TokenSource(Protocol):
    """Where a token comes from."""

    async def fetch(self) -> Token:
        """Return a new token. Raises `CredentialsError` if there is none."""


class TokenCache:
    """The token of one source. The last one is used for as long as it is valid.

    Each fetch is one of `tasks`, and all callers share it. After a failure, the next one waits for
    a pause, which doubles each time up to a minute.
    """

    def __init__(
        self,
        backend: str,
        source: TokenSource,
        tasks: BackgroundTasks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._source = source
        self._tasks = tasks
        self._clock = clock
        self._token: Token | None = None
        self._fetched = 0.0
        self._failure: CredentialsError | None = None
        self._failures = 0
        self._next_attempt = -math.inf
        self._next_drop = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def get(self, within: float) -> str:
        """Return a token that is valid now, after at most `within` seconds.

        Raises an `unsent` error if there is none.
        """
        now = self._clock()
        token = self._valid(now)
        if token is None:
            return await self._first(now, within)
        if now - self._fetched >= token.renewed_in and now >= self._next_attempt:
            self._begin()
        return token.value

    def drop(self) -> bool:
        """Drop a token that the backend has refused. Return whether a new one may be fetched."""
        now = self._clock()
        if now < self._next_drop:
            return False
        self._next_drop = now + _BETWEEN_DROPS
        self._token = None
        return True

    def forget_failure(self) -> None:
        """Let the next call fetch a token at once, because the source has changed."""
        self._failure, self._failures, self._next_attempt = None, 0, -math.inf

    def _valid(self, now: float) -> Token | None:
        token = self._token
        return token if token is not None and now - self._fetched < token.ends_in else None

    async def _first(self, now: float, within: float) -> str:
        if self._fetching is not None or now >= self._next_attempt or self._failure is None:
            try:
                async with asyncio.timeout(within):
                    await asyncio.shield(self._begin())
            except TimeoutError:
                late = CredentialsError("no token has arrived in time", passes=True)
                raise unavailable(self._backend, late) from None
        token = self._valid(self._clock())
        if token is not None:
            return token.value
        failure = self._failure or CredentialsError("the new token has ended already", passes=True)
        raise unavailable(self._backend, failure)

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = self._tasks.start(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            token = await self._source.fetch()
        except CredentialsError as error:
            self._failed(error)
        except Exception:
            logger.exception("backend %s: its token could not be fetched", self._backend)
            text = "the gateway failed; its log has the reason"
            self._failed(CredentialsError(text, passes=True))
        else:
            self._token, self._fetched = token, self._clock()
            self.forget_failure()
        finally:
            self._fetching = None

    def _failed(self, error: CredentialsError) -> None:
        pause = min(_FIRST_PAUSE * 2.0**self._failures, _LONGEST_PAUSE)
        self._failure, self._failures = error, min(self._failures + 1, 10)
        self._next_attempt = self._clock() + pause
        kept = "; the last one remains in use" if self._valid(self._clock()) else ""
        logger.warning("backend %s: no new token%s: %s", self._backend, kept, escaped(str(error)))
