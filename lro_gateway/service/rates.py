"""The rates of callers: how often one caller may call each verb.

A wait and a watch have no rate, because their polls wait for turns of the backend's
`polls_per_second`, and a poll has its turn in the round of its readers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from cachetools import LRUCache
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import QuotaFailure, RetryInfo
from pyrate_limiter import Rate as BucketRate
from pyrate_limiter import TokenBucket

from lro_gateway.access.policy import Verb
from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.operations.names import GatewayName
from lro_gateway.principal import Principal

logger: Final = logging.getLogger(__name__)

_MAX_CALLERS: Final = 20_000
"""The number of callers of each verb whose buckets are kept."""
_MAX_NAMES: Final = 100_000
"""The number of operations, of all callers together, that are known to be polled."""
_ALGORITHM: Final = TokenBucket()
_PATIENCE: Final = 0.5
"""Seconds that a call waits for the store."""
_AWAY: Final = 5.0
"""Seconds for which the store is not asked again after it did not answer."""
_ALLOWED: Final = {
    Verb.GET: "read {} operations that it has not read lately",
    Verb.LIST: "list operations {} times",
    Verb.CANCEL: "cancel {} operations",
    Verb.DELETE: "delete {} operations",
    Verb.START: "start {} operations",
    Verb.CALL: "call {} methods",
    Verb.APPROVE: "approve or refuse {} calls",
}
"""The words for the calls that the rate of each verb counts."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls in a period, which may all come at once after a period without a call.

    `text` is the rate as it stands in the configuration, such as `10/1m`.
    """

    calls: int
    period: timedelta
    text: str


class SharedBuckets(Protocol):
    """The token buckets that several processes share."""

    async def spend(self, key: str, calls: int, period: float) -> float:
        """Take a token, and return 0. If there is none, return the seconds until there is one.

        Raises a `StatusError` if the store does not answer.
        """


class Buckets:
    """The token buckets of one rate, one for each key.

    A process counts on its own, and then asks the buckets that it shares with others. If the store
    does not answer, the process counts alone. `name` is unique among the rates of a gateway.
    """

    def __init__(self, name: str, rate: Rate, shared: SharedBuckets | None = None) -> None:
        self.rate = rate
        self._name = name
        milliseconds = math.ceil(rate.period / timedelta(milliseconds=1))
        self._rates = [BucketRate(rate.calls, milliseconds)]
        self._full = _ALGORITHM.initial(self._rates)
        self._states: LRUCache[Hashable, tuple[float, ...]] = LRUCache(_MAX_CALLERS)
        self._shared = shared
        self._away_until = -math.inf

    async def spend(self, key: Hashable) -> float:
        """Take a token, and return 0. If there is none, return the seconds until there is one."""
        # A call that exceeds the rate of this process exceeds the shared one too, so the store is
        # not asked.
        seconds = self._spend(key)
        if not seconds and self._shared is not None:
            seconds = await self._spend_shared(self._shared, key)
        return seconds

    def _spend(self, key: Hashable) -> float:
        now = int(time.monotonic() * 1000)
        state = self._states.get(key, self._full)
        self._states[key], decision = _ALGORITHM.step(self._rates, state, now, 1)
        return (decision.retry_after_ms or 0) / 1000 if decision.failing_rate else 0.0

    async def _spend_shared(self, shared: SharedBuckets, key: Hashable) -> float:
        if time.monotonic() < self._away_until:
            return 0.0
        digest = hashlib.sha256(repr((self._name, key)).encode()).hexdigest()
        try:
            async with asyncio.timeout(_PATIENCE):
                return await shared.spend(digest, self.rate.calls, self.rate.period.total_seconds())
        except (StatusError, TimeoutError) as error:
            # A limit must not stop the gateway.
            self._away_until = time.monotonic() + _AWAY
            logger.warning(
                "rates count for this process alone for %g s: %s", _AWAY, str(error) or "no answer"
            )
            return 0.0


class Rates:
    """Refuses the calls of a caller that come more often than the rate of their verb allows.

    A verb without a rate may be called at any time. Callers without an identity count by their
    addresses.
    """

    def __init__(self, rates: Mapping[Verb, Rate], shared: SharedBuckets | None = None) -> None:
        self._buckets = {verb: Buckets(verb.value, rate, shared) for verb, rate in rates.items()}
        self._polled: LRUCache[tuple[Hashable, GatewayName], None] = LRUCache(_MAX_NAMES)

    async def spend(self, caller: Principal, verb: Verb) -> None:
        """Count a call. Raises RATE_EXCEEDED if the caller has made too many."""
        buckets = self._buckets.get(verb)
        if buckets is None:
            return
        if seconds := await buckets.spend(caller.reader[0]):
            error = _exceeded(caller, verb, buckets.rate, seconds)
            logger.warning("refused %s: %s", caller, error.message)
            raise error

    async def read(self, caller: Principal, name: GatewayName) -> None:
        """Count a read of an operation that the caller has not read or started lately.

        Polls of one operation cost nothing, but a caller that tries many names is stopped.
        """
        if Verb.GET in self._buckets and (caller.reader[0], name) not in self._polled:
            await self.spend(caller, Verb.GET)
        self.expect(caller, name)

    def expect(self, caller: Principal, name: GatewayName) -> None:
        """Let the caller read an operation at any time, because the caller knows it."""
        if Verb.GET in self._buckets:
            self._polled[caller.reader[0], name] = None


def _exceeded(caller: Principal, verb: Verb, rate: Rate, seconds: float) -> StatusError:
    setting = f"limits.rates.{verb.value}"
    wait = max(1, math.ceil(seconds))
    allowed = _ALLOWED[verb].format(rate.calls)
    period = rate.text.partition("/")[2]
    text = (
        f"the gateway has not made this call, because in {period} a caller may {allowed};"
        f" call again in {wait} s, or see {setting}"
    )
    subject = f"caller:{caller}" if any(caller.identity) else "address"
    violation = QuotaFailure.Violation(
        subject=subject, description=f"{setting} is {rate.text}", quota_id=setting
    )
    metadata = {
        "verb": verb.value,
        "limit": rate.text,
        "setting": setting,
        "retryAfter": f"{wait}s",
    }
    return status_error(
        Code.RESOURCE_EXHAUSTED,
        text,
        "RATE_EXCEEDED",
        metadata=metadata,
        details=[
            RetryInfo(retry_delay=Duration(seconds=wait)),
            QuotaFailure(violations=[violation]),
        ],
    )
