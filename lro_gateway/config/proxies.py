"""The settings for proxies: the addresses of trusted proxies, and the prefix of paths."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator, PlainValidator

from lro_gateway.access.peer import Network

_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*\Z")
_VERSION: Final = re.compile(r"/v[1-9][^/]*\Z")


def _network(value: object) -> Network:
    """Parse an address or a network, such as `10.0.0.0/8`."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        if not isinstance(value, str):
            raise ValueError  # noqa: TRY004, TRY301 - other types get the text of a malformed string
        return ipaddress.ip_network(value.strip())
    except ValueError:
        raise ValueError(
            f"{value!r} is neither an address nor a network of addresses; examples are 10.0.0.5 and"
            " 10.0.0.0/8, whose bits after the prefix are 0"
        ) from None


def checked_prefix(value: str) -> str:
    """Return a prefix of paths with a slash at its start and none at its end, or an empty text.

    Raises `ValueError` if it is malformed.
    """
    prefix = "/" + value.strip("/") if value.strip("/") else ""
    if not _PREFIX.match(prefix) or {".", ".."} & set(prefix.split("/")):
        raise ValueError(f"{value!r} is not a prefix of paths, such as /lro")
    if _VERSION.match(prefix):
        raise ValueError(f"{value!r} looks like a version of the API; choose another prefix")
    return prefix


TrustedProxy = Annotated[Network, PlainValidator(_network)]
RootPath = Annotated[str, AfterValidator(checked_prefix)]
