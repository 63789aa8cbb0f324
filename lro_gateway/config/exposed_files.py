"""Files with secrets that other users of the machine can read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lro_gateway.config.credentials import CredentialsConfig
from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.secrets import SecretFileBytes, SecretFileStr

_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH


def exposed_files(config: GatewayConfig) -> Iterator[str]:
    """Yield a sentence for each file with a secret that its group or all users can read.

    This is a warning and no mistake, because the volumes of Kubernetes often have such files.
    """
    for setting, file in _secret_files(config):
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except OSError:
            continue  # The use of the file reports this.
        if mode & _OTHERS:
            readers = "all users" if mode & stat.S_IROTH else "its group"
            yield (
                f"{setting}: {readers} of this machine can read {file} (mode {mode:04o});"
                f" run chmod 600 {file.name} if the gateway's user owns it"
            )


def _secret_files(config: GatewayConfig) -> Iterator[tuple[str, Path]]:
    for key in config.server.keys:
        if isinstance(key, SecretFileBytes):
            yield "server.keys", key.file
    if config.store.location.dsn and config.store.location.source is not None:
        yield "store.url", config.store.location.source
    if config.server.tls is not None:
        yield "server.tls.key", config.server.tls.key
    for backend in config.backends:
        for name, value in backend.metadata.items():
            if isinstance(value, SecretFileStr):
                yield f"backend {backend.name}: metadata.{name}", value.file
        yield from _of_credentials(backend.name, backend.credentials)
        if backend.tls is not None and backend.tls.key is not None:
            yield f"backend {backend.name}: tls.key", backend.tls.key


def _of_credentials(backend: str, stated: CredentialsConfig | None) -> Iterator[tuple[str, Path]]:
    if stated is None:
        return
    place = f"backend {backend}: credentials"
    if stated.bearer_file is not None:
        yield f"{place}.bearer_file", stated.bearer_file
    for kind in ("client_credentials", "token_exchange"):
        oauth = getattr(stated, kind)
        for name in ("client_secret", "client_key") if oauth is not None else ():
            if isinstance(value := getattr(oauth, name), SecretFileStr):
                yield f"{place}.{kind}.{name}", value.file
