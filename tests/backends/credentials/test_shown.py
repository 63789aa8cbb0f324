"""What a backend is shown of a caller decides which callers share answers."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from lro_gateway.backends.credentials.shown import Credentials
from lro_gateway.principal import ANONYMOUS, Principal
from lro_gateway.service.verb_requests import NameRequest
from tests.backends.credentials.recording import recording, shown
from tests.gateways import service_of

EU = Principal("alice", "i", passed=(("x-region", "eu"), ("x-team", "t")))
US = Principal("bob", "i", passed=(("x-region", "us"), ("x-team", "t")))


class Fixed:
    """Tokens that are always the same."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def get(self, _within: float) -> str:
        return self.token

    def drop(self) -> bool:
        return False

    def tokens_of(self, caller: Principal) -> Fixed:
        return Fixed(f"{self.token} of {caller.subject}")


async def test_callers_share_answers_if_the_backend_cannot_tell_them_apart() -> None:
    """With the gateway's own token, and no headers, there is no key of a caller."""
    own = Credentials(Fixed("own"))
    assert own.key_of(EU) is None
    assert await own.of(EU).metadata(1) == (("authorization", "Bearer own"),)
    regions = Credentials(headers=["x-region"])
    assert regions.key_of(EU) == (("x-region", "eu"),) != regions.key_of(US)
    assert regions.key_of(ANONYMOUS) is None
    assert await regions.of(EU).metadata(1) == (("x-region", "eu"),)
    assert regions.own is None


async def test_callers_of_an_exchange_share_nothing() -> None:
    """The same caller with a newer token has the same key."""
    exchange = Credentials(Fixed("own"), Fixed("exchanged"))
    alice, bob = Principal("alice", "i", token=SecretStr("1")), Principal("bob", "i")
    newer = Principal("alice", "i", token=SecretStr("2"), expires=9.0)
    assert exchange.key_of(alice) == exchange.key_of(newer) != exchange.key_of(bob)
    assert exchange.key_of(alice) != exchange.key_of(Principal("alice", "i", tenant="t"))
    assert await exchange.of(bob).metadata(1) == (("authorization", "Bearer exchanged of bob"),)
    assert exchange.own is not None
    assert await exchange.own.metadata(1) == (("authorization", "Bearer own"),)


@pytest.mark.usefixtures("_ends_stay_fresh")
@pytest.mark.parametrize(("headers", "calls"), [((), 1), (("x-region",), 2), (("x-team",), 1)])
async def test_reads_are_shared_by_callers_whose_passed_headers_are_the_same(
    headers: tuple[str, ...], calls: int
) -> None:
    """Only the headers that this backend gets count."""
    async with (
        recording() as backend,
        service_of(backend.target, pass_headers=list(headers), freshness="30s") as service,
    ):
        for caller in (EU, US, EU):
            await asyncio.gather(*(service.get(caller, NameRequest("jobs/1")) for _ in range(3)))
    assert backend.count("GetOperation") == calls
    if headers:
        assert set(shown(backend, "GetOperation", headers[0])) == (
            {"eu", "us"} if calls == 2 else {"t"}
        )
    assert all("x-region" in headers or "x-region" not in call.metadata for call in backend.calls)
