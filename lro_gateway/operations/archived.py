"""The mark of an operation that its backend may no longer have, so that the gateway answers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from lro_gateway.errors import JSON


@dataclass(frozen=True, slots=True)
class Archived:
    """When the gateway put a finished operation into its archive.

    `omitted` is the size in bytes of the response, or of the details of the error, if that was too
    large for the archive. It is 0 if the operation is complete.
    """

    time: dt.datetime
    omitted: int = 0

    @property
    def timestamp(self) -> str:
        """The time in RFC 3339."""
        return self.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def to_json(self) -> JSON:
        """Return `archiveTime`, and `omittedBytes` if something was too large."""
        found: JSON = {"archiveTime": self.timestamp}
        return {**found, "omittedBytes": self.omitted} if self.omitted else found
