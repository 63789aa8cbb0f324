"""The files of TLS to a backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_Loaded = TypeVar("_Loaded")


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to a backend, with files in PEM.

    `ca` holds the certificates that verify the backend. Without `ca`, the system's root
    certificates verify it. `cert` and `key` identify the gateway to the backend (mTLS).
    `server_name` is the name in the backend's certificate, if that name is not the host of the
    target.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are set."""
        return tuple(filter(None, (self.ca, self.cert, self.key)))


@dataclass(frozen=True, slots=True)
class TlsContents:
    """The contents of the files, which fit together."""

    ca: bytes | None
    key: bytes | None = field(repr=False)
    chain: bytes | None

    @classmethod
    def read(cls, tls: Tls) -> TlsContents:
        """Read and check the files now, because gRPC would report a bad one only at the first call.

        Raises `ValueError` if a file cannot be used. Its text names the setting and the file.
        """
        ca = None
        if tls.ca is not None:
            ca, _ = read_pem("tls.ca", tls.ca, x509.load_pem_x509_certificates)
        if tls.cert is None or tls.key is None:
            return cls(ca, None, None)
        chain, key = read_pair("tls", tls.cert, tls.key)
        return cls(ca, key, chain)

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a channel."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.chain)


def read_pair(table: str, cert: Path, key: Path) -> tuple[bytes, bytes]:
    """Return the contents of the files of a certificate and its key, which fit together.

    Raises `ValueError` if a file cannot be used. Its text names the file, and the setting in the
    table.
    """
    chain, certificates = read_pem(f"{table}.cert", cert, x509.load_pem_x509_certificates)
    load_key = partial(load_pem_private_key, password=None)
    content, private = read_pem(f"{table}.key", key, load_key)
    if not _is_key_of(certificates[0], private):
        raise ValueError(f"{table}.key: {key} is not the key of the certificate in {cert}")
    return chain, content


def _is_key_of(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except UnsupportedAlgorithm:
        return True  # The library of TLS may know the algorithm.


def read_pem(setting: str, file: Path, load: Callable[[bytes], _Loaded]) -> tuple[bytes, _Loaded]:
    """Return the content of a file, and what it holds.

    Raises `ValueError` if the file cannot be used. Its text names the setting and the file.
    """
    try:
        content = file.read_bytes()
        return content, load(content)
    except OSError as error:
        raise ValueError(f"{setting}: {file} cannot be read: {error.strerror}") from error
    except TypeError as error:
        # cryptography raises TypeError for a key only if the key has a password.
        raise ValueError(
            f"{setting}: the key in {file} has a password; write it without one, for example with"
            f" `openssl pkey -in {file.name} -out NEW`"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(
            f"{setting}: {file} is not a valid certificate or key in PEM: {error}"
        ) from error
