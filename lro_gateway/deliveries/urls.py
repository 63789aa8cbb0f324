"""The URLs of receivers: which can be used, and which are below another one."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from lro_gateway.deliveries.addresses import AddressFilter, address_of

_NOT_HTTP: Final = (
    "its scheme must be https; deliveries.allow_http allows http too, for webhooks of REST alone"
)
_LONGEST_URL: Final = 2048
_UNSAFE: Final = ("\\", "%2e", "%2f", "%5c", "%25")
"""What may make a receiver take a path for another one."""


def check_url(url: str, addresses: AddressFilter | None, *, http: bool = False) -> str:
    """Return why a URL cannot be that of a receiver, or an empty text.

    It must be absolute and HTTPS, or HTTP if `http` is set, without user information and fragment.
    Without a filter, its address may be any.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "it is not a URL"
    is_printable = url.isascii() and url.isprintable() and " " not in url
    is_http = parts.scheme == "https" or (http and parts.scheme == "http")
    problems = (
        (len(url) > _LONGEST_URL, f"it has more than {_LONGEST_URL} characters"),
        (not is_printable, "it has characters that a URL must escape"),
        (parts.scheme == "http" and not http, _NOT_HTTP),
        (not is_http, "its scheme must be https"),
        (not host, "it has no host"),
        (port == 0, "its port must be from 1 to 65535"),
        ("@" in parts.netloc, "it must not have a user or a password"),
        ("#" in url, "it must not have a fragment"),
        (
            not _is_usable(host, addresses),
            f"the address {host} is not public, and deliveries.allowed_addresses does not have it",
        ),
    )
    return next((problem for is_wrong, problem in problems if is_wrong), "")


def _is_usable(host: str, addresses: AddressFilter | None) -> bool:
    """Return False if a host is an address that is refused. A name is checked when it is used."""
    address = address_of(host)
    return address is None or addresses is None or addresses.allows(address)


def is_under(url: str, prefix: str) -> bool:
    """Return whether a URL is this one, or below it. Both are URLs with HTTPS."""
    of_url, of_prefix = urlsplit(url), urlsplit(prefix)
    return _origin(of_url) == _origin(of_prefix) and covers(of_prefix.path, of_url.path)


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or 443


def covers(prefix: str, path: str) -> bool:
    """Return whether a path is that of a prefix, or below it.

    A path that a receiver might take for another one is below none.
    """
    path, prefix = path or "/", prefix or "/"
    segments = path.split("/")
    if any(each == "." or each.startswith("..") for each in segments):
        return False
    if any(each in path.lower() for each in _UNSAFE) or not prefix.startswith("/"):
        return False
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
