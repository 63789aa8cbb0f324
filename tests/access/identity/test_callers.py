"""The caller of a request is the one that all its credentials name."""

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

    @property
    def advice(self) -> str:
        return f"send {self.name}"

    async def identify(self, scope: Scope) -> Principal | None:
        return Principal(self.name, "test") if self.name in scope else None


async def test_a_request_may_name_only_one_caller() -> None:
    """A request without any credentials is refused, and the error says which ones to send."""
    callers = IdentifiedCallers((Kind("a"), Kind("b"), Kind("a")), Principal("me", "stdio"))
    assert (await callers.of_request({"a": 1})).subject == "a"
    assert (await callers.of_request({"b": 1})).subject == "b"
    with pytest.raises(StatusError) as caught:
        await callers.of_request({"a": 1, "b": 1})
    assert caught.value.reason == "CALLERS_DIFFER"
    with pytest.raises(StatusError, match="send a, or send b") as caught:
        await callers.of_request({})
    assert caught.value.reason == "CREDENTIALS_MISSING"
    assert callers.of_process() == Principal("me", "stdio")


async def test_without_kinds_the_callers_of_http_are_anonymous() -> None:
    """This is a configuration that states only the caller of stdio."""
    callers = IdentifiedCallers((), Principal("me", "stdio"))
    assert await callers.of_request({}) == ANONYMOUS
