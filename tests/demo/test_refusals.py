"""Refusals have the details that AIP-193 requires."""

from typing import Any

from google.rpc import code_pb2, error_details_pb2

from lro_gateway.demo.refusals import RefusedError, already_exists, invalid, not_found, refused
from tests.demo.client import unpacked


def status_of(error: RefusedError) -> Any:
    """Return the google.rpc.Status of an error, which is published without types."""
    return error.status


def details(status: Any) -> list[object]:
    """Return the details of a status, which are an ErrorInfo and perhaps a BadRequest."""
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest)
    return [unpacked(packed, kind) for packed, kind in zip(status.details, kinds, strict=False)]


def test_a_refusal_has_an_error_info_with_its_metadata() -> None:
    """The ErrorInfo has the reason, which programs read; people read the message."""
    error = refused(code_pb2.ABORTED, "try again", "IN_THE_WAY", resource="databases/a")
    status = status_of(error)

    info = error_details_pb2.ErrorInfo(
        reason="IN_THE_WAY", domain="demo.lro-gateway.dev", metadata={"resource": "databases/a"}
    )
    assert (status.code, status.message, details(status)) == (10, "try again", [info])


def test_an_invalid_field_is_named_in_a_bad_request() -> None:
    """The field is in the message, in the metadata and in the violation."""
    status = status_of(invalid("row_count", "it is negative", "INVALID_ROW_COUNT"))

    violation = error_details_pb2.BadRequest.FieldViolation(
        field="row_count", description="it is negative"
    )
    assert (status.code, status.message) == (3, "row_count: it is negative")
    assert details(status) == [
        error_details_pb2.ErrorInfo(
            reason="INVALID_ROW_COUNT",
            domain="demo.lro-gateway.dev",
            metadata={"field": "row_count"},
        ),
        error_details_pb2.BadRequest(field_violations=[violation]),
    ]


def test_the_reason_names_the_kind_of_a_missing_or_existing_resource() -> None:
    """A program can read the kind of resource without the message."""
    missing = status_of(not_found("database", "databases/a"))
    existing = status_of(already_exists("backup", "databases/a/backups/b"))

    assert [(status.code, status.message) for status in (missing, existing)] == [
        (5, "database 'databases/a' does not exist"),
        (6, "backup 'databases/a/backups/b' already exists"),
    ]
    infos = [unpacked(s.details[0], error_details_pb2.ErrorInfo) for s in (missing, existing)]
    assert [info.reason for info in infos] == ["DATABASE_NOT_FOUND", "BACKUP_ALREADY_EXISTS"]
