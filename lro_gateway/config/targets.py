"""The targets of backends: gRPC's forms of an address, and a backend's name that follows from one.

A target that cannot work is refused here, because gRPC reports it only at the first call, as a host
that does not exist.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import unquote

MAX_NAME: Final = 128
"""The maximum length of a backend's name, in characters."""

_SCHEME: Final = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|xds):", re.IGNORECASE)
_WEB: Final = re.compile(r"(?:http|https|grpc|grpcs|tcp|tls|ssl)://", re.IGNORECASE)
_ENCRYPTED: Final = ("https:", "grpcs:", "tls:", "ssl:")
_ADDRESS: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9._])?")
_RESOLVED: Final = re.compile(r"(?:dns|ipv4|ipv6):(?://[^/]*/|/)?", re.IGNORECASE)
"""Matches the scheme before the addresses of a target that is not a socket."""
_IP6: Final = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*(%.*)?")
"""Matches an IPv6 address without brackets, perhaps with a port."""
_PORT: Final = re.compile(r":(\d+)\Z")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._:-]+")
_MAX_SOCKET_PATH: Final = 107
"""The maximum length of the path of a Unix socket, in bytes."""


def split_option(option: str) -> tuple[str, str]:
    """Split `[NAME=]TARGET` into the name and the target.

    A target may have an `=` too, for example in the path of a socket. The text before the first `=`
    is a name unless it has the form of a target. Without a name, the name follows from the target.
    """
    name, separator, target = option.partition("=")
    if separator and "/" not in name and not _SCHEME.match(name):
        return name, target
    return name_of(option), option


def name_of(target: str) -> str:
    """Return the name of a backend that has only a target.

    The name is `HOST:PORT`, `ipv6:ADDRESS:PORT` or `unix:PATH`, with a `-` for each run of
    characters that a name cannot have.
    """
    address = _RESOLVED.sub("", target.partition("?")[0])
    scheme, separator, path = address.partition(":/")
    if separator:
        address = f"{scheme.lower()}:{path.lstrip('/')}"
    elif address.startswith("["):
        address = "ipv6:" + re.sub(r"[\[\]]", "", address)
    name = _NOT_IN_NAMES.sub("-", address)
    return re.sub(r"^[^A-Za-z0-9]+", "", name)[:MAX_NAME] or "unnamed"


def is_local(target: str) -> bool:
    """Return whether a checked target is a socket, or only addresses of loopback."""
    if target.startswith("unix"):
        return True
    addresses = _RESOLVED.sub("", target).partition("?")[0].split(",")
    return all(map(_is_loopback, addresses))


def _is_loopback(address: str) -> bool:
    host = _PORT.sub("", address).strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(unquote(host)).is_loopback
    except ValueError:
        return False


def checked_target(text: str, base: Path) -> str:
    """Return a target in the form that gRPC gets; raise `ValueError` if gRPC could not use it.

    `base` is the directory of the path of a Unix socket that is relative.
    """
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError('a target is needed, such as "127.0.0.1:50051", without spaces around it')
    found = _SCHEME.match(text)
    if not found:
        _check_address(text)
        return text
    scheme, rest = found[1].lower(), text[found.end() :]
    match scheme:
        case "unix":
            return f"unix:{_socket(rest, base)}"
        case "unix-abstract" if not rest:
            raise ValueError('the name of the socket is missing, as in "unix-abstract:builds"')
        case "dns":
            _check_dns(rest)
        case "xds" if found := _PORT.search(rest):
            _check_port(found[1])
        case "ipv4" | "ipv6":
            for address in rest.removeprefix("///").split(","):
                _check_ip(scheme, address)
    return f"{scheme}:{rest}"


def _check_address(text: str) -> None:
    """Check `HOST:PORT`."""
    if found := _WEB.match(text):
        _refuse_url(text, found.end())
    if text.startswith(("/", ".", "~")):
        raise ValueError('write the path of a socket as "unix:/PATH"')
    if "://" in text:
        scheme = text.partition("://")[0]
        raise ValueError(
            f"{scheme}:// is not one of the forms dns:///HOST:PORT, ipv4:ADDRESS:PORT,"
            " ipv6:[ADDRESS]:PORT and unix:/PATH"
        )
    if _IP6.fullmatch(text):
        raise ValueError('write an IPv6 address in brackets and with a port, as in "[::1]:50051"')
    found = _ADDRESS.fullmatch(text)
    host, port = found.groups() if found else (text, None)
    if found is None or not (_is_ip(host[1:-1], 6) if host[:1] == "[" else _HOST.fullmatch(host)):
        raise ValueError(
            f"{host!r} is not a host; HOST:PORT is needed, such as"
            ' "127.0.0.1:50051", "builds.internal:443" or "[::1]:50051"'
        )
    if not port:
        raise ValueError(
            f'the port is missing: write "{host}:PORT" with the port of the backend, such as 50051,'
            " or 443 for most services with TLS"
        )
    _check_port(port)


def _check_port(port: str) -> None:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"the port {port!r} is not a number from 1 to 65535")


def _refuse_url(text: str, start: int) -> NoReturn:
    encrypted = text.lower().startswith(_ENCRYPTED)
    address = re.split(r"[/?#]", text[start:], maxsplit=1)[0].rpartition("@")[2] or "HOST"
    if not re.search(r":\d+\Z", address):
        address += ":443" if encrypted else ":80"
    tls = " and tls = {}, both under [[backends]] of a configuration file" if encrypted else ""
    raise ValueError(f'a target is not a URL: write target = "{address}"{tls}')


def _check_dns(rest: str) -> None:
    address = rest.partition("?")[0]
    if address.startswith("//"):
        server, slash, address = address[2:].partition("/")
        if not slash:
            raise ValueError(f'write three slashes, as in "dns:///{server}"')
        host, _, port = server.rpartition(":")
        if server and not (_is_ip(host.strip("[]"), 4, 6)):
            raise ValueError(
                f"the DNS server {server!r} is not an address with a port, such as 127.0.0.1:53"
            )
        if server:
            _check_port(port)
    _check_address(address.removeprefix("/"))


def _check_ip(scheme: str, address: str) -> None:
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if scheme == "ipv4" and not _is_ip(host, 4):
        raise ValueError(f"{address!r} is not an IPv4 address with a port, such as 127.0.0.1:50051")
    if scheme == "ipv6" and not (bracketed and _is_ip(host[1:-1], 6)):
        raise ValueError(
            f"{address!r} is not an IPv6 address in brackets with a port, such as [::1]:50051"
        )
    _check_address(f"{host}:{port}")


def _is_ip(text: str, *versions: int) -> bool:
    try:
        return ipaddress.ip_address(unquote(text)).version in versions
    except ValueError:
        return False


def _socket(rest: str, base: Path) -> str:
    """Return the absolute path of a Unix socket, percent-encoded as it was."""
    if rest.startswith("//") and not rest.startswith("///"):
        raise ValueError(f'write one slash or three, as in "unix:{rest[1:]}"')
    path = re.sub("^///", "/", rest)
    if not path.strip("/"):
        raise ValueError('the path of the socket is missing, as in "unix:/run/builds.sock"')
    if "?" in path or "#" in path:
        raise ValueError("write ? as %3F and # as %23 in the path of a socket")
    absolute = str(base.absolute() / path)
    if (size := len(os.fsencode(unquote(absolute)))) > _MAX_SOCKET_PATH:
        raise ValueError(
            f"the path of the socket has {size} bytes, and the operating system allows at most"
            f" {_MAX_SOCKET_PATH}"
        )
    return absolute
