"""The headers of a caller's request that backends get as metadata."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from lro_gateway.access.authentication import Authenticator, Scope
from lro_gateway.errors import Code, StatusError, status_error
from lro_gateway.principal import Principal

MAX_BYTES: Final = 2048
"""The maximum size of all passed headers of a request, with their names.

gRPC servers accept 8 KB of metadata by default, and a token may need most of it.
"""
_VALUE: Final = re.compile(rb"[\x20-\x7e]*\Z")


class PassingHeaders:
    """Identifies callers as another authenticator does, and notes headers of their requests.

    `names` are those of the headers, in lower case.
    """

    def __init__(self, authenticator: Authenticator, names: Collection[str]) -> None:
        self._authenticator = authenticator
        self._names = frozenset(name.encode("ascii") for name in names)

    async def of_request(self, scope: Scope) -> Principal:
        """Return the caller of an HTTP request with the headers to pass on.

        Raises INVALID_ARGUMENT if a header cannot be metadata.
        """
        caller = await self._authenticator.of_request(scope)
        found = [pair for pair in scope["headers"] if pair[0] in self._names]
        if not found:
            return caller
        if sum(len(name) + len(value) for name, value in found) > MAX_BYTES:
            raise _refused("", f"the headers for backends have more than {MAX_BYTES} bytes")
        for name, value in found:
            if not _VALUE.match(value):
                text = f"the header {name.decode()} has characters that are not printable ASCII"
                raise _refused(name.decode(), text)
        passed = tuple((name.decode(), value.decode()) for name, value in found)
        return replace(caller, passed=passed)

    def of_process(self) -> Principal:
        """Return the caller of MCP over stdio, which has no headers."""
        return self._authenticator.of_process()


def _refused(header: str, text: str) -> StatusError:
    return status_error(
        Code.INVALID_ARGUMENT,
        f"{text}, so it cannot be passed on; correct it, or leave it out",
        "HEADER_NOT_PASSED",
        metadata={"header": header, "setting": "pass_headers"},
    )
