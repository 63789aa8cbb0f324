"""The table `[logs]`: what the log has, and in which format."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from lro_gateway.config.tables import Table


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
"""The least severe level that the log has, in any case."""


class LogsConfig(Table):
    """The log of each process of the gateway."""

    level: Level = "info"
    format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = "text"
    access: bool = False
