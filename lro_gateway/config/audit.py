"""The table `[audit]`: where the entries of the audit go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from lro_gateway.access.audit_sinks import NONE, OPENTELEMETRY, STDERR
from lro_gateway.config.tables import Table
from lro_gateway.config.values import relative_to_base


def _check_target(value: str, info: ValidationInfo) -> str:
    if value in {NONE, STDERR, OPENTELEMETRY}:
        return value
    if not value.startswith("file:") or value == "file:":
        raise ValueError('one of "none", "stderr", "opentelemetry" and "file:PATH" is needed')
    path = relative_to_base(Path(value.removeprefix("file:")), info)
    if not path.parent.is_dir():
        raise ValueError(f"there is no directory {path.parent}")
    if path.is_dir():
        raise ValueError(f"{path} is a directory")
    return str(path)


class AuditConfig(Table):
    """The audit of each process of the gateway."""

    to: Annotated[str, AfterValidator(_check_target)] = NONE
