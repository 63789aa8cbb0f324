"""The secrets of webhooks, of which the store has only sealed ones, and their rotation."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import replace
from typing import Final

from pydantic import SecretStr

from lro_gateway.access.sealing import Sealer, UnsealError
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import Subscription

_PURPOSE: Final = "webhook_secret"
_OLD_SIGN_FOR: Final = dt.timedelta(hours=24)
_MOST: Final = 5
"""The number of secrets of a webhook that sign, so that its header stays short."""


class SealedSecrets:
    """Seals and opens the secrets of webhooks, the newest of which comes first."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, id_: str, secret: SecretStr) -> str:
        """Return a secret as the store keeps it for the webhook with this id."""
        return self._sealer.seal(secret.get_secret_value().encode(), _PURPOSE, (id_,))

    def opened(self, subscription: Subscription) -> list[str]:
        """Return the secrets that sign now.

        Raises `UnsealError` if the gateway no longer has the key that sealed the newest one.
        """
        newest, *old = _signing(subscription)
        opened = [self._open(subscription, newest)]
        for each in old:
            with suppress(UnsealError):
                opened.append(self._open(subscription, each))
        return opened

    def rotated(self, before: Subscription, sealed: str) -> Subscription:
        """Return a webhook with a new secret. Those that signed before sign for 24 hours more.

        Somebody may rotate again because an answer was lost. Then a receiver may still have the
        secret before the last one.
        """
        if sealed == before.secrets[0]:
            return before
        old = [each for each in _signing(before) if each != sealed]
        secrets = (sealed, *old[: _MOST - 1])
        return replace(before, secrets=secrets, old_until=now() + _OLD_SIGN_FOR)

    def _open(self, subscription: Subscription, sealed: str) -> str:
        return self._sealer.unseal(sealed, _PURPOSE, (subscription.id,)).decode()


def _signing(subscription: Subscription) -> tuple[str, ...]:
    has_old = subscription.old_until is not None and subscription.old_until > now()
    return subscription.secrets if has_old else subscription.secrets[:1]
