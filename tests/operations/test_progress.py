"""Progress, words and times, in every form that real metadata carries them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from google.protobuf import json_format

from lro_gateway.operations.progress import (
    Progress,
    create_time_of,
    progress_of,
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
def test_progress_is_a_percent_and_the_field_that_says_so(
    name: str, fields: dict[str, Any], expected: Progress
) -> None:
    """Percents, ratios, done of total, alone, nested and in lists; from 0 to 100."""
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
        # storage.control writes -1 for unknown.
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
def test_metadata_that_tells_no_number_has_no_progress(name: str, fields: dict[str, Any]) -> None:
    """Unknown is not zero, and a field of the right name may be of another type."""
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
def test_metadata_says_its_state_in_words_or_by_an_enum(
    name: str, fields: dict[str, Any], expected: str | None
) -> None:
    """Words come before the name of a state; a number without a name says nothing."""
    assert text_of(metadata(name, fields)) == expected


START = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
LAST = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
WRITTEN = "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("Times", {"createTime": WRITTEN, "startTime": "2027-01-01T00:00:00Z"}, START),
        ("Times", {"startTime": WRITTEN, "insertTime": "2025-01-01T00:00:00Z"}, START),
        ("Times", {"insertTime": WRITTEN}, START),
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
def test_metadata_tells_when_its_operation_began(
    name: str, fields: dict[str, Any], expected: dt.datetime | None
) -> None:
    """Creation before start before insertion; the epoch is what an unset time reads as."""
    assert create_time_of(metadata(name, fields)) == expected


def test_a_time_out_of_range_is_no_time() -> None:
    """A Timestamp on the wire can hold any number of seconds."""
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
def test_a_field_that_is_said_to_tell_progress_is_read_first(
    field: str, expected: Progress | None
) -> None:
    """A path of names, or two of them; one that tells nothing leaves it to the usual fields."""
    told = metadata(
        "Documents", {"progressDocuments": {"estimatedWork": "200", "completedWork": "70"}}
    )
    usual = Progress(35, "progress_documents.completed_work")
    assert progress_of(told, ["no.field", field]) == (expected or usual)


def test_names_in_camel_case_tell_the_same() -> None:
    """Few .proto files have them so."""
    told = metadata(
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
    assert progress_of(told) == Progress(40, "common_metadata.progress_percent")
    assert text_of(told) == "copying"
    assert create_time_of(told) == START
    assert update_time_of(told) == dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


def test_metadata_tells_when_its_operation_last_changed() -> None:
    """Its end, or else its last update."""
    times = {"createTime": WRITTEN, "updateTime": "2027-01-01T00:00:00Z"}
    updated = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    assert update_time_of(metadata("Updated", times)) == updated
    times["endTime"] = "2028-01-01T00:00:00Z"
    assert update_time_of(metadata("Updated", times)) == updated.replace(year=2028)
    assert update_time_of(metadata("Updated", {})) is None
