"""Progress, status texts and times, in every form that real metadata has."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from google.protobuf import json_format

from lro_gateway.operations.progress import (
    Progress,
    create_time_of,
    progress_of,
    rounded,
    text_of,
    update_time_of,
)
from tests.shapes import message


def metadata(name: str, fields: dict[str, Any]) -> Any:
    """Make a message of `progress.v1` from its ProtoJSON."""
    return json_format.ParseDict(fields, message(f"progress.v1.{name}"))


FOUND = [
    ("Percent", {"progressPercent": 40}, Progress(40, "progress_percent")),
    ("Percent", {}, Progress(0, "progress_percent")),
    ("Percent", {"progressPercent": 120}, Progress(100, "progress_percent")),
    ("Percentage", {"progressPercentage": 12.5}, Progress(12.5, "progress_percentage")),
    ("Complete", {"percentComplete": 99.9}, Progress(99.9, "percent_complete")),
    ("Completed", {"completedPercent": 7}, Progress(7, "completed_percent")),
    ("Ratio", {"estimatedCompletionRatio": 0.25}, Progress(25, "estimated_completion_ratio")),
    ("OptionalPercent", {"progressPercent": 0}, Progress(0, "progress_percent")),
    ("OptionalPercent", {"percentComplete": 3}, Progress(3, "percent_complete")),
    (
        "Restore",
        {"progress": {"progressPercent": 60}},
        Progress(60, "progress.progress_percent"),
    ),
    (
        "Statements",
        {"progress": [{"progressPercent": 100}, {"progressPercent": 50}, {}]},
        Progress(50, "progress[].progress_percent"),
    ),
    (
        "Videos",
        {"annotationProgress": [{"progressPercent": 10}, {"progressPercent": 30}]},
        Progress(20, "annotation_progress[].progress_percent"),
    ),
    (
        "Documents",
        {"progressDocuments": {"estimatedWork": "400", "completedWork": "100"}},
        Progress(25, "progress_documents.completed_work"),
    ),
    (
        "Documents",
        {"progressDocuments": {}, "progressBytes": {"estimatedWork": 10, "completedWork": 5}},
        Progress(50, "progress_bytes.completed_work"),
    ),
    (
        "Entities",
        {"progressEntities": {"workEstimated": "9000000000000000", "workCompleted": "0"}},
        Progress(0, "progress_entities.work_completed"),
    ),
    (
        "Entities",
        {"progressEntities": {"workEstimated": 10, "workCompleted": 11}},
        Progress(100, "progress_entities.work_completed"),
    ),
    (
        "Import",
        {"successCount": 30, "failureCount": 10, "totalCount": 80},
        Progress(50, "success_count"),
    ),
    (
        "RenameFolder",
        {"commonMetadata": {"progressPercent": 8}},
        Progress(8, "common_metadata.progress_percent"),
    ),
    (
        "Generic",
        {"genericMetadata": {"progress": {"progressPercent": 5}}},
        Progress(5, "generic_metadata.progress.progress_percent"),
    ),
]


@pytest.mark.parametrize(("name", "fields", "expected"), FOUND)
def test_progress_is_a_percent_and_the_path_of_its_field(
    name: str, fields: dict[str, Any], expected: Progress
) -> None:
    """The field may be a percent, a ratio or a pair, at the top, nested or in a list."""
    assert progress_of(metadata(name, fields)) == expected


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Nothing", {"target": "50%"}),
        ("OptionalPercent", {}),
        ("Restore", {}),
        ("Generic", {}),
        ("Statements", {}),
        ("Documents", {"progressDocuments": {"completedWork": 5}}),
        ("Documents", {"progressDocuments": {"estimatedWork": -1, "completedWork": 5}}),
        ("Import", {"successCount": 5}),
        # The storage.control service sets -1 if the progress is unknown.
        ("RenameFolder", {"commonMetadata": {"progressPercent": -1}}),
        ("Percentage", {"progressPercentage": "NaN"}),
        ("Percentage", {"progressPercentage": "Infinity"}),
        ("Statements", {"progress": [{"progressPercent": 5}, {"progressPercent": -1}]}),
        (
            "Otherwise",
            {
                "progressPercent": "5",
                "percentComplete": [5],
                "completedPercent": 5,
                "estimatedCompletionRatio": "RUNNING",
                "progress": {"a": {"progressPercent": 5}},
                "progressPercentage": True,
            },
        ),
    ],
)
def test_metadata_without_a_number_has_no_progress(name: str, fields: dict[str, Any]) -> None:
    """Unknown progress is None and not zero. Fields of other types are ignored."""
    assert progress_of(metadata(name, fields)) is None


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("Texts", {"statusMessage": "a", "statusDetail": "b"}, "a"),
        ("Texts", {"statusDetail": "b", "progressMessage": "c"}, "b"),
        ("Texts", {"progressMessage": "c", "ephemeralMessage": "d"}, "c"),
        ("Texts", {"ephemeralMessage": "d", "state": "RUNNING"}, "d"),
        ("Texts", {"state": "RUNNING", "stage": "STOPPING"}, "RUNNING"),
        ("Texts", {"stage": "STOPPING"}, "STOPPING"),
        ("RenameFolder", {"commonMetadata": {"statusMessage": "moving"}}, "moving"),
        ("Entities", {"common": {"state": "STOPPING"}}, "STOPPING"),
        ("Documents", {"operationState": "RUNNING"}, "RUNNING"),
        ("Texts", {}, None),
        ("Texts", {"state": 77}, None),
        ("Nothing", {"target": "t"}, None),
        (
            "Otherwise",
            {"statusMessage": {}, "statusDetail": ["x"], "state": "y", "stage": [1], "common": "z"},
            None,
        ),
    ],
)
def test_the_status_text_is_a_message_or_the_name_of_a_state(
    name: str, fields: dict[str, Any], expected: str | None
) -> None:
    """A message is preferred to a state. A state without a name is ignored."""
    assert text_of(metadata(name, fields)) == expected


START = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
LAST = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
PRECISE = START.replace(microsecond=123456)
WRITTEN = "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("Times", {"createTime": WRITTEN, "startTime": "2027-01-01T00:00:00Z"}, START),
        ("Times", {"startTime": WRITTEN, "insertTime": "2025-01-01T00:00:00Z"}, START),
        ("Times", {"insertTime": WRITTEN}, START),
        ("Times", {"insertTime": "2026-01-02T03:04:05.123456789Z"}, PRECISE),
        ("Entities", {"common": {"startTime": WRITTEN}}, START),
        ("RenameFolder", {"commonMetadata": {"createTime": WRITTEN}}, START),
        ("Restore", {"progress": {"startTime": WRITTEN}}, START),
        ("Times", {"createTime": "9999-12-31T23:59:59Z"}, LAST),
        ("Times", {}, None),
        ("Times", {"createTime": "1970-01-01T00:00:00Z"}, None),
        ("Times", {"createTime": "0001-01-01T00:00:00Z"}, None),
        (
            "Otherwise",
            {"createTime": WRITTEN, "startTime": [WRITTEN], "insertTime": {"progressPercent": 1}},
            None,
        ),
    ],
)
def test_the_start_time_is_the_first_of_three_fields_that_is_set(
    name: str, fields: dict[str, Any], expected: dt.datetime | None
) -> None:
    """The order is create_time, start_time, insert_time. The epoch counts as unset."""
    assert create_time_of(metadata(name, fields)) == expected


def test_a_time_out_of_range_is_ignored() -> None:
    """A backend can send a Timestamp with any number of seconds."""
    broken = message("progress.v1.Times")
    broken.create_time.seconds = 2**62
    assert create_time_of(broken) is None


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("progress_documents.completed_work", Progress(70, "progress_documents.completed_work")),
        (
            "progress_documents.completed_work/progress_documents.estimated_work",
            Progress(35, "progress_documents.completed_work"),
        ),
        ("progress_bytes.completed_work/progress_bytes.estimated_work", None),
        ("no.such", None),
        ("progress_documents", None),
        ("progress_documents.completed_work.deeper", None),
    ],
)
def test_a_configured_field_is_read_first(field: str, expected: Progress | None) -> None:
    """If it has no number, the fields that the gateway knows are read."""
    documents = metadata(
        "Documents", {"progressDocuments": {"estimatedWork": "200", "completedWork": "70"}}
    )
    usual = Progress(35, "progress_documents.completed_work")
    assert progress_of(documents, ["no.field", field]) == (expected or usual)


def test_fields_with_names_in_camel_case_are_read() -> None:
    """A few .proto files write field names in camelCase."""
    camel = metadata(
        "Camel",
        {
            "commonMetadata": {
                "progressPercent": 40,
                "statusMessage": "copying",
                "updateTime": "2027-01-01T00:00:00Z",
            },
            "createTime": WRITTEN,
        },
    )
    assert progress_of(camel) == Progress(40, "common_metadata.progress_percent")
    assert text_of(camel) == "copying"
    assert create_time_of(camel) == START
    assert update_time_of(camel) == dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


def test_the_update_time_is_the_end_time_or_the_last_update() -> None:
    """The end time is preferred."""
    times = {"createTime": WRITTEN, "updateTime": "2027-01-01T00:00:00Z"}
    updated = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    assert update_time_of(metadata("Updated", times)) == updated
    times["endTime"] = "2028-01-01T00:00:00Z"
    assert update_time_of(metadata("Updated", times)) == updated.replace(year=2028)
    assert update_time_of(metadata("Updated", {})) is None


@pytest.mark.parametrize(
    ("percent", "text"), [(42.0, "42"), (100.0, "100"), (12.54, "12.5"), (33.33, "33.3")]
)
def test_a_percentage_in_json_has_tenths_only_if_it_needs_them(percent: float, text: str) -> None:
    """Numbers of a Struct are printed in the same way."""
    assert repr(rounded(percent)) == text
