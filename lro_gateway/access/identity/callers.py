"""The authenticator of a gateway that identifies its callers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lro_gateway.access.authentication import Scope
from lro_gateway.access.identity.refusals import callers_differ, credentials_missing
from lro_gateway.principal import ANONYMOUS, Principal

PROCESS_ISSUER: Final = "stdio"
"""The issuer of the caller of MCP over stdio, whose identity the configuration states."""


class Credentials(Protocol):
    """One kind of credentials, such as bearer tokens or client certificates."""

    @property
    def advice(self) -> str:
        """The words of a sentence that tell a client how to get such credentials."""

    async def identify(self, scope: Scope) -> Principal | None:
        """Return the caller of a request, or None if it has no credentials of this kind.

        Raises a `StatusError` with UNAUTHENTICATED if the credentials are wrong.
        """


@dataclass(frozen=True, slots=True)
class IdentifiedCallers:
    """Identifies callers by the credentials of their requests.

    A request with two kinds of credentials is refused if they name different callers. No order of
    the kinds would be safe: a proxy with a certificate of its own could act for its users by
    mistake, or a user could take over the rights of the proxy.

    If there are no `kinds`, the callers of HTTP are anonymous. `process` is the caller of stdio.
    """

    kinds: Sequence[Credentials]
    process: Principal = ANONYMOUS

    async def of_request(self, scope: Scope) -> Principal:
        """Return the caller of a request."""
        found = None
        for kind in self.kinds:
            caller = await kind.identify(scope)
            if caller is None:
                continue
            if found is not None and found.identity != caller.identity:
                raise callers_differ()
            found = found or caller
        if found is not None:
            return found
        if not self.kinds:
            return ANONYMOUS
        raise credentials_missing([each.advice for each in self.kinds])

    def of_process(self) -> Principal:
        """Return the caller of MCP over stdio."""
        return self.process
