"""Causes of failed connections, which gRPC's error text hides, and the settings that cure them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lro_gateway.backends.channel import Endpoint
from lro_gateway.backends.tls_files import Tls
from lro_gateway.errors import plain

# gRPC makes these error texts if the connection to the server fails. A server may pass them on.
_CONNECTION: Final = re.compile(
    r"failed to connect|failed to create|errors resolving|empty address list"
    r"|connections to all backends failing|socket closed"
    r"|connection (?:refused|reset|aborted|timed out)|broken pipe|recvmsg|goaway|handshake"
    r"|keepalive watchdog|ping timeout|too many pings|endpoint closing|transport closed"
    r"|stream removed",
    re.IGNORECASE,
)
_LAST_ERROR: Final = re.compile(
    r"last error: (?:[A-Z_]+: )?(?:(?:ipv[46]|unix|unix-abstract):\S+ )?(.*)", re.DOTALL
)
# gRPC repeats the address in the text of some errors.
_ADDRESS: Final = re.compile(r"connect failed: addr: \S+ error: ")
_CLOSED: Final = re.compile(
    r"socket closed|connection reset|broken pipe|end of tcp stream|eof", re.IGNORECASE
)


_CURES_OF_TARGET: Final = {
    "Connection refused": "nothing listens there: start the backend, or correct target",
    "No such file or directory": "there is no such socket: start the backend, or correct target",
    "Permission denied": "the user of the gateway must have write permission for the socket",
}
"""The cure for each part of gRPC's text that names the cause."""


@dataclass(frozen=True, slots=True)
class ConnectionFailure:
    """A failed connection: gRPC's text, and the sentence and the setting that cure it.

    `cure` and `setting` are empty if the gateway does not know the cause.
    """

    text: str
    cure: str = ""
    setting: str = ""

    def __str__(self) -> str:
        """Return gRPC's text and the cure."""
        text = plain(self.text)
        return f"{text}; {self.cure}" if self.cure else text


def connection_failure(text: str, endpoint: Endpoint) -> ConnectionFailure | None:
    """Explain gRPC's text for a failed connection; return None for the text of a server."""
    if not _CONNECTION.search(text):
        return None
    if text.startswith(("errors resolving", "empty address list")):
        cure = "the host of target has no address: correct target"
        return ConnectionFailure(text, cure, "target")
    refused = _LAST_ERROR.search(text)
    if refused is None:
        # The connection ended during the call, so the settings are right.
        return ConnectionFailure(text)
    cause = _ADDRESS.sub("", refused[1])
    return ConnectionFailure(cause, *_cure(cause, endpoint))


def _cure(cause: str, endpoint: Endpoint) -> tuple[str, str]:
    """Return a sentence with the cure, and its setting. Both are empty for an unknown cause."""
    for part, cure in _CURES_OF_TARGET.items():
        if part in cause:
            return cure, "target"
    if "SETTINGS" in cause:
        return _not_http2(endpoint), "target"
    if endpoint.tls is not None:
        return _tls_cure(cause, endpoint.tls, endpoint)
    if _CLOSED.search(cause):
        return (
            "the server closed the connection before it spoke gRPC; if it expects TLS, set"
            " tls = {} for this backend, and otherwise correct target"
        ), "tls"
    return "", ""


def _not_http2(endpoint: Endpoint) -> str:
    port = "the server at this port does not speak gRPC, which needs HTTP/2: correct target"
    return port if endpoint.tls else f"{port}, or set tls = {{}} if the server expects TLS"


def _tls_cure(cause: str, tls: Tls, endpoint: Endpoint) -> tuple[str, str]:
    if "WRONG_VERSION_NUMBER" in cause:
        return (
            "the server at this port does not speak TLS: remove tls of this backend, or correct"
            " target"
        ), "tls"
    if "CERTIFICATE_VERIFY_FAILED" in cause:
        return _unverified(cause, tls)
    if "Hostname Verification" in cause:
        return _other_name(tls, endpoint), "tls.server_name"
    if "ALPN" in cause:
        return (
            "the server at this port speaks TLS but not HTTP/2, which gRPC needs: correct target,"
            " or turn on HTTP/2 in the server or in the proxy before it"
        ), "target"
    if _CLOSED.search(cause):
        return _refused(tls)
    return "", ""


def _unverified(cause: str, tls: Tls) -> tuple[str, str]:
    if "expired" in cause:
        return "a certificate of the backend has expired: renew it at the backend", "tls"
    if "not yet valid" in cause:
        return (
            "a certificate of the backend is not valid yet: correct the clock of this machine, or"
            " the certificate"
        ), "tls"
    if "issuer" not in cause and "self signed" not in cause:
        return "a certificate of the backend is not valid: correct it at the backend", "tls"
    if tls.ca is None:
        return (
            "the gateway does not trust the authority of the backend's certificate: set tls.ca to"
            " the PEM file of that authority's certificate"
        ), "tls.ca"
    return (
        "no authority in the file tls.ca has signed the backend's certificate: set tls.ca to the"
        " PEM file of the authority that has"
    ), "tls.ca"


def _other_name(tls: Tls, endpoint: Endpoint) -> str:
    if tls.server_name:
        return (
            f"the backend's certificate is not for {tls.server_name!r}: set tls.server_name to a"
            " name in the certificate"
        )
    return (
        f"the backend's certificate is not for the host of {endpoint.target}: set tls.server_name"
        " to a name in the certificate, or correct target"
    )


def _refused(tls: Tls) -> tuple[str, str]:
    if tls.cert is None:
        return (
            "the server ended the TLS handshake; if it requires a client certificate, set tls.cert"
            " and tls.key, and if it does not speak TLS, remove tls"
        ), "tls.cert"
    return (
        "the server ended the TLS handshake; check that the certificate in tls.cert has not"
        " expired, and that an authority that the server trusts has signed it"
    ), "tls.cert"
