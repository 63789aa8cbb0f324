"""The first kind of credentials that a request has identifies its caller."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lro_gateway.access.authentication import Scope
from lro_gateway.access.identity.callers import IdentifiedCallers
from lro_gateway.errors import StatusError
from lro_gateway.principal import ANONYMOUS, Principal


@dataclass
class Kind:
    """Credentials that a request has if its scope has their name."""

    name: str

    async def identify(self, scope: Scope) -> Principal | None:
        return Principal(self.name, "test") if self.name in scope else None


async def test_kinds_are_asked_in_their_order() -> None:
    """A request without any credentials is refused."""
    callers = IdentifiedCallers((Kind("a"), Kind("b")), Principal("me", "stdio"))
    assert (await callers.of_request({"a": 1, "b": 1})).subject == "a"
    assert (await callers.of_request({"b": 1})).subject == "b"
    with pytest.raises(StatusError) as caught:
        await callers.of_request({})
    assert caught.value.reason == "CREDENTIALS_MISSING"
    assert callers.of_process() == Principal("me", "stdio")


async def test_without_kinds_the_callers_of_http_are_anonymous() -> None:
    """This is a configuration that states only the caller of stdio."""
    callers = IdentifiedCallers((), Principal("me", "stdio"))
    assert await callers.of_request({}) == ANONYMOUS
