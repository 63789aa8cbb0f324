"""Which certificates of clients the server trusts, and which of them it trusts no longer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography import x509

Withdrawn = Callable[[bytes], bool]
"""Tells whether the server trusts a certificate in DER no longer."""
_LIST: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ClientTrust:
    """The authorities of clients, and the issuers and serial numbers that are revoked."""

    authorities: frozenset[x509.Certificate] = frozenset()
    revoked: frozenset[tuple[x509.Name, int]] = frozenset()

    @classmethod
    def of(cls, authorities: bytes, lists: bytes = b"") -> ClientTrust:
        """Read the contents of files in PEM, which have been checked."""
        read = map(x509.load_pem_x509_crl, _LIST.findall(lists))
        revoked = frozenset((each.issuer, entry.serial_number) for each in read for entry in each)
        return cls(frozenset(x509.load_pem_x509_certificates(authorities)), revoked)

    def withdrawn_since(self, before: ClientTrust) -> Withdrawn | None:
        """Return which certificates were trusted before, or None if all of them still are.

        If an authority is gone, all certificates count, because only the handshake knows which
        authority has signed one. They are then verified in a new handshake.
        """
        if before.authorities - self.authorities:
            return lambda _certificate: True
        revoked = self.revoked - before.revoked
        return (lambda certificate: _name_of(certificate) in revoked) if revoked else None


def _name_of(certificate: bytes) -> tuple[x509.Name, int] | None:
    """Return the issuer and the serial number, or None if the library cannot parse it."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
    except ValueError:
        return None
    return parsed.issuer, parsed.serial_number
