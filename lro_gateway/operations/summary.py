"""The summary of an operation, in one form for programs that show operations to people."""

from __future__ import annotations

import datetime as dt
from typing import Final

from lro_gateway.errors import JSON
from lro_gateway.operations.begun import Begun
from lro_gateway.operations.elapsed import stalled
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.progress import rounded

_SUFFIX: Final = "Metadata"


async def summary(operation: Operation, begun: Begun | None = None) -> JSON:
    """Return the state and the backend of an operation, and what its metadata says.

    `kind` is the name of the method that started it, such as `CreateDatabase`. If that is not
    known, it is the type of the metadata without its package and without the suffix `Metadata`.
    Times that the metadata lacks are from `begun`, if the operation was started here.

    `percent` is from 0 to 100. Times are in RFC 3339. `archiveTime` and `omittedBytes` are those of
    `Archived`, and `unchangedFor` and `expectedTime` those of `Stall`. `stallText` says the same to
    a person. Unknown values are left out.
    """
    await operation.prepare()
    progress = operation.progress
    found: JSON = {
        "state": operation.state.value,
        "backend": operation.backend,
        "kind": _kind(operation) if begun is None else begun.method.rpartition("/")[2],
        "percent": None if progress is None else rounded(progress.percent),
        "statusText": operation.status_text,
        "createTime": _text(operation.create_time or (begun and begun.started)),
        "updateTime": _text(operation.update_time or (begun and begun.changed)),
    }
    if operation.archived is not None:
        found |= operation.archived.to_json()
    if operation.stall is not None:
        found |= {**operation.stall.to_json(), "stallText": stalled(operation.stall)}
    return {key: value for key, value in found.items() if value is not None}


def _kind(operation: Operation) -> str | None:
    name = str(operation.proto.metadata.type_url).rpartition("/")[2].rpartition(".")[2]
    return name.removesuffix(_SUFFIX) or name or None


def _text(time: dt.datetime | None) -> str | None:
    """Return a time as ProtoJSON has it, with no, three or six digits after the second."""
    if time is None:
        return None
    has_micros = time.microsecond % 1000
    precision = "microseconds" if has_micros else "milliseconds" if time.microsecond else "seconds"
    return time.isoformat(timespec=precision).replace("+00:00", "Z")
