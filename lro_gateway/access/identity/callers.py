"""The authenticator of a gateway that identifies its callers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lro_gateway.access.authentication import Scope
from lro_gateway.access.identity.refusals import credentials_missing
from lro_gateway.principal import ANONYMOUS, Principal

PROCESS_ISSUER: Final = "stdio"
"""The issuer of the caller of MCP over stdio, whose identity the configuration states."""


class Credentials(Protocol):
    """One kind of credentials, such as bearer tokens or client certificates."""

    async def identify(self, scope: Scope) -> Principal | None:
        """Return the caller of a request, or None if it has no credentials of this kind.

        Raises a `StatusError` with UNAUTHENTICATED if the credentials are wrong.
        """


@dataclass(frozen=True, slots=True)
class IdentifiedCallers:
    """Identifies callers by the first kind of credentials that a request has.

    If there are no `kinds`, the callers of HTTP are anonymous. `process` is the caller of stdio.
    """

    kinds: Sequence[Credentials]
    process: Principal = ANONYMOUS

    async def of_request(self, scope: Scope) -> Principal:
        """Return the caller of a request."""
        for kind in self.kinds:
            if (found := await kind.identify(scope)) is not None:
                return found
        if not self.kinds:
            return ANONYMOUS
        raise credentials_missing()

    def of_process(self) -> Principal:
        """Return the caller of MCP over stdio."""
        return self.process
