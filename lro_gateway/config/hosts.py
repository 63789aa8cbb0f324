"""The hosts and web origins that a gateway accepts, in one spelling."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import idna
from pydantic import PlainValidator

_PORT: Final = re.compile(r"(?P<name>.+?)(?::(?P<port>[0-9]{1,5}))?\Z", re.DOTALL)
_NAME: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*\Z")
_MAX_PORT: Final = 65535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ANY_LABELS: Final = "*."


@dataclass(frozen=True, slots=True)
class Host:
    """A host and its port, or None if the text has no port.

    The name is in lower case, without a dot at its end, and in Punycode. An IPv6 address is in its
    shortest spelling, in brackets.
    """

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Host:
        """Parse the value of a Host header. Raises `ValueError` if it is malformed."""
        matched = _PORT.match(text)
        if matched is None:
            raise ValueError("the host is empty")
        port = int(matched["port"]) if matched["port"] else None
        if port is not None and not 0 < port <= _MAX_PORT:
            raise ValueError(f"{port} is not a port")
        return cls(_normal_name(matched["name"]), port)

    def without_default_port(self, scheme: str) -> Host:
        """Return the host without its port if that is the default port of a scheme."""
        return Host(self.name) if self.port == _DEFAULT_PORTS.get(scheme, 0) else self


def _normal_name(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return f"[{ipaddress.IPv6Address(text[1:-1]).compressed}]"
    name = text.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError as error:
            raise ValueError(f"{text!r} is not a host: {error}") from None
    if not _NAME.match(name):
        raise ValueError(f"{text!r} is not a host")
    return name


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith(_ANY_LABELS):
        return name.endswith(pattern[1:]) and len(name) >= len(pattern)
    return name == pattern


def _pattern(text: str) -> Host:
    """Parse a host whose first label may be `*`, which stands for one or more labels."""
    prefix = _ANY_LABELS if text.startswith(_ANY_LABELS) else ""
    rest = text.removeprefix(prefix)
    if "*" in rest:
        raise ValueError(f"{text!r}: * may stand only for the first part, as in *.internal")
    host = Host.parse(rest)
    if prefix and (host.name.startswith("[") or host.name[-1:].isdigit()):
        raise ValueError(f"{text!r}: an address has no subdomains, so * cannot stand before it")
    return Host(prefix + host.name, host.port)


@dataclass(frozen=True, slots=True)
class HostPattern:
    """An entry of `allowed_hosts`: a host, or `*.` and a host for all of its subdomains.

    An entry without a port allows every port. An entry with a default port also allows the host
    without a port, because clients leave out the default port.
    """

    host: Host

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Parse an entry. Raises `ValueError` if it could never match a Host header."""
        entry = text.strip().removesuffix("/").removesuffix(":*")
        if "://" in entry or "/" in entry:
            raise ValueError(f"{text!r}: write the host alone, such as gateway.internal")
        if entry == "*":
            raise ValueError(
                '"*" would turn this check off; list the names of the gateway, such as'
                " gateway.internal or *.internal"
            )
        if entry.count(":") > 1 and not entry.startswith("["):
            entry = f"[{entry}]"
        return cls(_pattern(entry))

    @property
    def is_pattern(self) -> bool:
        """Whether the entry stands for many hosts."""
        return self.host.name.startswith(_ANY_LABELS)

    def matches(self, host: Host) -> bool:
        """Return whether a request may have this host."""
        ports = {self.host.port}
        if self.host.port in _DEFAULT_PORTS.values():
            ports.add(None)
        allowed = self.host.port is None or host.port in ports
        return allowed and _matches(self.host.name, host.name)


@dataclass(frozen=True, slots=True)
class Origin:
    """A web origin, or a pattern of origins if the host begins with `*.`."""

    scheme: str
    host: Host

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Parse the value of an Origin header. Raises `ValueError` if it is not one origin."""
        return cls._parse(text, Host.parse)

    @classmethod
    def parse_entry(cls, text: str) -> Origin:
        """Parse an entry of `allowed_origins`. Raises `ValueError` if it could never match."""
        entry = text.strip().removesuffix("/")
        if entry in {"*", "null"}:
            raise ValueError(
                f'"{entry}" would allow pages that you do not know; list the origins of your pages,'
                " such as https://console.internal"
            )
        if "://" not in entry:
            raise ValueError(f"{text!r} has no scheme; write it as https://{entry}")
        if "/" in entry.partition("://")[2]:
            raise ValueError(f"{text!r}: an origin has no path; write scheme, host and port")
        return cls._parse(entry, _pattern)

    @classmethod
    def _parse(cls, text: str, parse_host: Callable[[str], Host]) -> Origin:
        scheme, separator, rest = text.partition("://")
        scheme = scheme.lower()
        if not separator or not _SCHEME.match(scheme):
            raise ValueError(f"{text!r} is not an origin")
        return cls(scheme, parse_host(rest).without_default_port(scheme))

    def matches(self, origin: Origin) -> bool:
        """Return whether this pattern allows an origin."""
        return (
            self.scheme == origin.scheme
            and self.host.port == origin.host.port
            and _matches(self.host.name, origin.host.name)
        )


def _entry(value: object, parse: Callable[[str], HostPattern | Origin]) -> HostPattern | Origin:
    if isinstance(value, HostPattern | Origin):
        return value
    if not isinstance(value, str):
        raise ValueError("text in quotes is needed")  # noqa: TRY004 - pydantic collects ValueError
    return parse(value)


def _allowed_host(value: object) -> HostPattern | Origin:
    return _entry(value, HostPattern.parse)


def _allowed_origin(value: object) -> HostPattern | Origin:
    return _entry(value, Origin.parse_entry)


AllowedHost = Annotated[HostPattern, PlainValidator(_allowed_host)]
AllowedOrigin = Annotated[Origin, PlainValidator(_allowed_origin)]
