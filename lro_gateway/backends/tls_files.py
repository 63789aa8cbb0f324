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
        ca, _ = _read("tls.ca", tls.ca, x509.load_pem_x509_certificates)
        chain, certificates = _read("tls.cert", tls.cert, x509.load_pem_x509_certificates)
        key, private = _read("tls.key", tls.key, partial(load_pem_private_key, password=None))
        if certificates and private and not _is_key_of(certificates[0], private):
            raise ValueError(f"tls.key: {tls.key} is not the key of the certificate in {tls.cert}")
        return cls(ca, key, chain)

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a channel."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.chain)


def _is_key_of(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except UnsupportedAlgorithm:
        return True  # gRPC may know the algorithm.


def _read(
    setting: str, file: Path | None, load: Callable[[bytes], _Loaded]
) -> tuple[bytes | None, _Loaded | None]:
    """Return the content of a file and what it holds, or nothing if there is no file."""
    if file is None:
        return None, None
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
