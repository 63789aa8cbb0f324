"""The table `[store]`: where the gateway keeps what must survive its process."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
)

from lro_gateway.config.secrets import FILE, referenced
from lro_gateway.config.tables import Table
from lro_gateway.config.values import parse_duration, relative_to_base
from lro_gateway.records.archived import ArchiveLimits
from lro_gateway.records.entries import JournalLimits
from lro_gateway.records.location import NOWHERE, Location


def _read_url(value: object, info: ValidationInfo) -> object:
    """Read a URL, or the variable or the file that has it. No error text has a part of the URL."""
    if isinstance(value, Location) or value == "auto":
        return value
    if not isinstance(value, str):
        raise ValueError("text in quotes is needed")  # noqa: TRY004 - pydantic collects ValueError
    url = referenced(value, info)
    location = Location.parse(value if url is None else url, relative_to_base("", info))
    if not value.startswith(FILE):
        return location
    return replace(location, source=relative_to_base(Path(value.removeprefix(FILE)), info))


StoreUrl = Annotated[
    Location | Literal["auto"], PlainValidator(_read_url), PlainSerializer(str, return_type=str)
]


def _retention(value: timedelta) -> timedelta:
    if not timedelta(minutes=1) <= value <= timedelta(days=3650):
        raise ValueError("must be at least 1m and at most 3650d")
    return value


def _archive_retention(value: timedelta) -> timedelta:
    return _retention(value) if value else value


Retention = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_retention)]
ArchiveRetention = Annotated[
    timedelta, BeforeValidator(parse_duration), AfterValidator(_archive_retention)
]


class StoreConfig(Table):
    """The store. With "auto", `serve` chooses one, and every other gateway runs without one.

    Within `idempotency_window`, a start with the same idempotency key is the same start.
    """

    url: StoreUrl = "auto"
    retention: Retention = JournalLimits().retention
    max_rows: int = Field(default=JournalLimits().max_rows, ge=1, strict=True)
    idempotency_window: Retention = timedelta(days=1)
    archive_retention: ArchiveRetention = ArchiveLimits().retention
    archive_max_bytes: int = Field(
        default=ArchiveLimits().max_bytes, ge=1024, le=2**30, strict=True
    )

    @property
    def journal_limits(self) -> JournalLimits:
        """How much the journal keeps."""
        return JournalLimits(self.retention, self.max_rows)

    @property
    def archive_limits(self) -> ArchiveLimits:
        """How long the final states of operations are kept, and up to which size."""
        return ArchiveLimits(self.archive_retention, self.archive_max_bytes)

    @property
    def is_none(self) -> bool:
        """Whether the configuration says that there is no store."""
        return self.url == NOWHERE

    @property
    def location(self) -> Location:
        """The place of the store, which is nowhere unless one is configured."""
        return self.url if isinstance(self.url, Location) else NOWHERE
