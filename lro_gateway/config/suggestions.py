"""Suggestions for a key or a value of the configuration that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, get_args

from pydantic import BaseModel

from lro_gateway.config.audit import AuditConfig
from lro_gateway.config.auth import AuthConfig, ClaimsConfig, IssuerConfig, StdioConfig
from lro_gateway.config.limits import LimitsConfig
from lro_gateway.config.logs import LogsConfig
from lro_gateway.config.mcp import McpConfig
from lro_gateway.config.models import (
    BackendConfig,
    GatewayConfig,
    HintsConfig,
    ServerConfig,
    TlsConfig,
)
from lro_gateway.config.policy import RuleConfig

_PLACES: Final[Mapping[type[BaseModel], str]] = {
    GatewayConfig: "at the top of the file",
    HintsConfig: "in an entry of hints",
    ServerConfig: "under [server]",
    LimitsConfig: "under [limits]",
    McpConfig: "under [mcp]",
    LogsConfig: "under [logs]",
    TlsConfig: "in the table tls of a backend",
    AuthConfig: "under [auth]",
    IssuerConfig: "under [[auth.issuers]]",
    ClaimsConfig: "under [auth.issuers.claims]",
    StdioConfig: "under [auth.stdio]",
    RuleConfig: "under [[policy]]",
    AuditConfig: "under [audit]",
    BackendConfig: "under [[backends]]",
}
"""Where the keys of each kind of table are written."""
_MAX_LISTED: Final = 10
"""The maximum number of keys that an error text lists."""


def _nearest(word: str, known: Iterable[str], likeness: float) -> str | None:
    """Return the known word that a misspelt word probably stands for."""
    # Upper case and hyphens are common mistakes, and change many letters of a word.
    spelt = {each.lower().replace("-", "_"): each for each in known}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), spelt, 1, likeness)
    return spelt[found[0]] if found else None


def unknown_key(path: Sequence[object]) -> str:
    """Return the error text for a key that does not exist, with the key that is probably meant."""
    key = str(path[-1])
    table = _table_at(path[:-1])
    if near := _nearest(key, table.model_fields, 0.7):
        return f"there is no such key; did you mean {near}?"
    for other, place in _PLACES.items():
        if near := _nearest(key, other.model_fields, 0.8):
            return f"there is no such key here; did you mean {near}, {place}?"
    keys = table.model_fields
    listed = ", ".join(keys) if len(keys) <= _MAX_LISTED else "in gateway.example.toml"
    return f"there is no such key; the keys are {listed}"


def _table_at(path: Iterable[object]) -> type[BaseModel]:
    """Return the model of the table at a path of keys and indexes."""
    table: type[BaseModel] = GatewayConfig
    for key in path:
        # Indexes, and the keys of dictionaries such as `hints`, do not change the model.
        if key in table.model_fields:
            table = next(_models(table.model_fields[str(key)].annotation), table)
    return table


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models in a type such as `tuple[BackendConfig, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
