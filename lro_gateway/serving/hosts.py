"""The rules of RFC 9112 for the host of a request."""

from __future__ import annotations

from collections.abc import Sequence

import httptools

from lro_gateway.config.hosts import Host
from lro_gateway.errors import quote


def host_problem(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return what is wrong with the host of a request, or an empty text.

    A request may have one Host header. A target such as `http://host/path` names the host too, and
    must name the same one, because the gateway and a proxy might believe different ones.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1:
        return f"the request has {len(hosts)} Host headers; send one"
    if target[:1] == b"/" or target == b"*":
        return ""
    url = httptools.parse_url(target)
    authority = (url.host or b"").decode("latin-1")
    if ":" in authority and not authority.startswith("["):
        authority = f"[{authority}]"
    if url.userinfo:
        return "the target of the request names a user; send only a path, or a host and a path"
    scheme = (url.schema or b"").decode("latin-1").lower()
    named = f"{authority}:{url.port}" if url.port else authority
    given = b"".join(hosts).decode("latin-1")
    if _same(named, given, scheme):
        return ""
    return f"the target of the request is at {quote(named)}, but the Host header is {quote(given)}"


def _same(one: str, other: str, scheme: str) -> bool:
    try:
        hosts = [Host.parse(each).without_default_port(scheme) for each in (one, other)]
    except ValueError:
        return False
    return hosts[0] == hosts[1]
