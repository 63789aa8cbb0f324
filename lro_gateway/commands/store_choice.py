"""Which store a gateway uses."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

import platformdirs

from lro_gateway.config.loading import ConfigError
from lro_gateway.config.models import NEEDS_STORE, GatewayConfig
from lro_gateway.records.location import NOWHERE, Location
from lro_gateway.records.opening import WITHOUT_STORE

_VARIABLE: Final = "LRO_GATEWAY_STORE"
"""The environment variable with the URL of a gateway whose configuration has none."""
_CURE: Final = 'give store.url a URL, or "none"'
_WORKERS: Final = "several workers cannot share the file of SQLite that one process uses by default"
_STDIO: Final = "each client starts a process of its own, and one file of SQLite serves one process"
_HOMELESS: Final = "this user has no home directory for a file of SQLite"
_SHARED: Final = (
    "store.url: a file of SQLite belongs to one process at a time, so --workers needs the URL of a"
    ' PostgreSQL database, or "none"'
)


def with_store(config: GatewayConfig, *, workers: int, stdio: bool) -> tuple[GatewayConfig, str]:
    """Return the configuration with the store that serve uses, and a sentence if it lacks one.

    If `store.url` is "auto", the variable `LRO_GATEWAY_STORE` has the URL, or the store is a file
    in the state directory of this user. Raises `ConfigError` if workers would share a file, or if
    the visibility of a backend needs a store and there is none.
    """
    location, note = config.store.location, ""
    if config.store.url == "auto":
        configured = _of_environment()
        location, note = (configured, "") if configured else _default(workers=workers, stdio=stdio)
    if location.file is not None and workers > 1:
        raise ConfigError([_SHARED])
    if config.needs_owners:
        # A gateway that cannot tell whose operations these are must not serve.
        if location.is_nowhere:
            raise ConfigError([f"{NEEDS_STORE} ({note})"])
        location = replace(location, is_default=False)
    store = config.store.model_copy(update={"url": location})
    return config.model_copy(update={"store": store}), note


def _of_environment() -> Location | None:
    url = os.environ.get(_VARIABLE)
    if not url:
        return None
    try:
        return Location.parse(url)
    except ValueError as error:
        raise ConfigError([f"{_VARIABLE}: {error}"]) from None


def _default(*, workers: int, stdio: bool) -> tuple[Location, str]:
    directory = platformdirs.user_state_path("lro-gateway")
    if stdio:
        reason = _STDIO
    elif workers > 1:
        reason = _WORKERS
    elif not directory.is_absolute():
        reason = _HOMELESS
    else:
        return Location(directory / "store.sqlite3", is_default=True), ""
    return NOWHERE, f"{WITHOUT_STORE}: {reason}; {_CURE}"
