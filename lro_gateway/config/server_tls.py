"""The table `[server.tls]`: the gateway's own certificate, and the certificates of clients."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from lro_gateway.config.tables import Table
from lro_gateway.config.values import ExistingFile


class ServerTlsConfig(Table):
    """TLS of the HTTP server, with files in PEM.

    `client_ca` are the authorities that sign the certificates of clients. `client_cert` tells
    whether each client needs one. `client_crl` are the certificates that these authorities have
    revoked.
    """

    cert: ExistingFile
    key: ExistingFile
    client_ca: ExistingFile | None = None
    client_cert: Literal["required", "optional"] = "required"
    client_crl: ExistingFile | None = None
    min_version: Literal["1.2", "1.3"] = "1.2"

    @model_validator(mode="after")
    def _check_client_ca(self) -> ServerTlsConfig:
        if self.client_ca is None and self.model_fields_set & {"client_cert", "client_crl"}:
            raise ValueError("client_ca is missing; without it no client certificate is verified")
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are set."""
        found = (self.cert, self.key, self.client_ca, self.client_crl)
        return tuple(filter(None, found))
