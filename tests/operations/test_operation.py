"""Operations: their state, age and ProtoJSON, and errors of backends."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from lro_gateway.descriptors.printing import JsonOptions
from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.operations.names import GatewayName
from lro_gateway.operations.operation import (
    BackendStatusError,
    Operation,
    OperationPage,
    State,
)
from lro_gateway.operations.progress import Progress
from tests.shapes import descriptor_set, message

FIRST_SEEN = 1_800_000_000.0


def types() -> TypeSet:
    """Return a type set that knows `shapes.v1`."""
    known = TypeSet()
    known.add(descriptor_set().file)
    return known


def packed(payload: Any, host: str = "type.googleapis.com") -> any_pb2.Any:
    """Pack a message of any pool into an Any of the default pool."""
    return any_pb2.Any(
        type_url=f"{host}/{payload.DESCRIPTOR.full_name}", value=payload.SerializeToString()
    )


def operation(received: float = FIRST_SEEN, **fields: Any) -> Operation:
    """Make an operation of backend `b`, which the gateway first saw at `FIRST_SEEN`."""
    proto = operations_pb2.Operation(name="operations/1", **fields)
    return Operation("b", GatewayName("operations/1"), proto, types(), received, FIRST_SEEN)


JOB = message("Job", progress_percent=40, status_message="copying")
STATUS = status_pb2.Status(code=9, message="disk is full")


@pytest.mark.parametrize(
    ("fields", "state", "done"),
    [
        ({}, State.RUNNING, False),
        ({"metadata": packed(JOB)}, State.RUNNING, False),
        # operations.proto forbids an error before the end, but a backend can send it.
        ({"error": STATUS}, State.RUNNING, False),
        ({"done": True}, State.SUCCEEDED, True),
        ({"done": True, "response": packed(JOB)}, State.SUCCEEDED, True),
        ({"done": True, "error": STATUS}, State.FAILED, True),
        ({"done": True, "error": status_pb2.Status(code=1)}, State.CANCELLED, True),
        ({"done": True, "error": status_pb2.Status(code=99)}, State.FAILED, True),
        ({"done": True, "error": status_pb2.Status()}, State.FAILED, True),
    ],
)
def test_the_state_follows_from_done_and_the_error(
    fields: dict[str, Any], state: State, done: bool
) -> None:
    """A done operation with an error has failed, or is cancelled if the error's code is 1."""
    assert (operation(**fields).state, operation(**fields).done) == (state, done)


JOB_JSON = {
    "@type": "type.googleapis.com/shapes.v1.Job",
    "progressPercent": 40,
    "statusMessage": "copying",
}
UNKNOWN = any_pb2.Any(type_url="type.googleapis.com/no.Such", value=b"\xff")
UNKNOWN_JSON = {
    "@type": "type.googleapis.com/no.Such",
    "@value": base64.b64encode(b"\xff").decode(),
    "@error": "no descriptor of its type was found",
}


@pytest.mark.parametrize(
    ("fields", "printed"),
    [
        ({}, {"done": False}),
        ({"done": True}, {"done": True}),
        ({"metadata": packed(JOB)}, {"metadata": JOB_JSON, "done": False}),
        ({"metadata": any_pb2.Any()}, {"metadata": {}, "done": False}),
        ({"metadata": UNKNOWN}, {"metadata": UNKNOWN_JSON, "done": False}),
        (
            {"metadata": packed(JOB), "done": True, "response": packed(JOB, "other.host/x")},
            {
                "metadata": JOB_JSON,
                "done": True,
                "response": {**JOB_JSON, "@type": "other.host/x/shapes.v1.Job"},
            },
        ),
        ({"done": True, "response": UNKNOWN}, {"done": True, "response": UNKNOWN_JSON}),
        (
            {"done": True, "error": STATUS},
            {"done": True, "error": {"code": 9, "message": "disk is full"}},
        ),
        ({"done": True, "error": status_pb2.Status()}, {"done": True, "error": {}}),
        (
            {
                "done": True,
                "error": status_pb2.Status(code=9, details=[packed(JOB), UNKNOWN, any_pb2.Any()]),
            },
            {"done": True, "error": {"code": 9, "details": [JOB_JSON, UNKNOWN_JSON, {}]}},
        ),
    ],
)
def test_an_operation_is_always_printed_with_its_name_and_done(
    fields: dict[str, Any], printed: dict[str, Any]
) -> None:
    """The operation may be running, or be done with a response, an error or neither."""
    assert operation(**fields).to_json() == {"name": "operations/1", **printed}


def test_the_printed_name_is_the_gateways() -> None:
    """The message keeps the backend's form of the name. A missing name stays empty."""
    proto = operations_pb2.Operation(name="main/1", done=True)
    shown = Operation("b", GatewayName("//b/main/1"), proto, types())
    assert shown.to_json() == {"name": "//b/main/1", "done": True}
    # A start with validate_only may return an operation without a name.
    nameless = Operation("b", GatewayName(""), operations_pb2.Operation(done=True), types())
    assert nameless.to_json() == {"name": "", "done": True}


def test_enums_in_payloads_are_printed_as_numbers_on_request() -> None:
    """The option applies to metadata and response."""
    payload = packed(message("Everything", color=2))
    shown = operation(metadata=payload, done=True, response=payload)
    assert shown.to_json(JsonOptions(enum_numbers=True)) == {
        "name": "operations/1",
        "metadata": {"@type": payload.type_url, "color": 2},
        "done": True,
        "response": {"@type": payload.type_url, "color": 2},
    }


def test_progress_status_text_and_start_time_come_from_the_metadata() -> None:
    """The metadata may be a message of any pool."""
    job = message("Job", progress_percent=40, status_message="copying")
    job.create_time.seconds = 1_700_000_000
    shown = operation(metadata=packed(job))
    created = shown.create_time
    assert shown.progress == Progress(40, "progress_percent")
    assert shown.status_text == "copying"
    assert created is not None
    assert created.timestamp() == 1_700_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"metadata": any_pb2.Any()},
        {"metadata": UNKNOWN},
        {"metadata": any_pb2.Any(type_url="x/shapes.v1.Job", value=b"\xff")},
    ],
)
def test_without_readable_metadata_there_is_no_progress(fields: dict[str, Any]) -> None:
    """Progress, status text and start time are None."""
    shown = operation(**fields)
    assert (shown.metadata, shown.progress, shown.status_text, shown.create_time) == (
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("created", "received", "age"),
    [
        (None, FIRST_SEEN, 0),
        (None, FIRST_SEEN + 12.5, 12.5),
        (FIRST_SEEN - 3600, FIRST_SEEN + 5, 3605),
        # The backend's clock may be ahead of the gateway's clock.
        (FIRST_SEEN + 60, FIRST_SEEN, 0),
    ],
)
def test_the_age_counts_from_the_start_time_or_from_the_first_answer(
    created: float | None, received: float, age: float
) -> None:
    """The age is in seconds, and never negative."""
    job = message("Job")
    if created is not None:
        job.create_time.seconds = int(created)
    assert operation(received, metadata=packed(job)).age == age


@pytest.mark.parametrize(
    ("age", "seconds"),
    [(0, 1), (9.99, 1), (10, 5), (59.9, 5), (60, 30), (1e9, 30)],
)
def test_the_poll_interval_grows_with_age(age: float, seconds: int) -> None:
    """The interval is 1 second at first, then 5 seconds, and 30 seconds after a minute."""
    assert operation(FIRST_SEEN + age).poll_interval == seconds


def test_a_page_is_printed_as_a_list_response() -> None:
    """The field `operations` is always present, and the others only if they are set."""
    assert OperationPage(()).to_json() == {"operations": []}
    page = OperationPage((operation(), operation(done=True)), "next", ("//c",))
    assert page.to_json() == {
        "operations": [
            {"name": "operations/1", "done": False},
            {"name": "operations/1", "done": True},
        ],
        "nextPageToken": "next",
        "unreachable": ["//c"],
    }


def test_a_page_prints_enums_as_numbers_on_request() -> None:
    """The option applies to every operation of the page."""
    payload = packed(message("Everything", color=1))
    page = OperationPage((operation(metadata=payload),))
    (shown,) = page.to_json(JsonOptions(enum_numbers=True))["operations"]
    assert shown["metadata"] == {"@type": payload.type_url, "color": 1}


def test_a_backends_error_keeps_its_text_and_every_detail() -> None:
    """A detail of an unknown type has the lossless form, and the reason is the backend's."""
    info = error_details_pb2.ErrorInfo(reason="STOCKOUT", domain="builds")
    status = status_pb2.Status(code=8, message="none left", details=[UNKNOWN, packed(JOB)])
    status.details.add().Pack(info)
    error = BackendStatusError(status, backend="b", types=types())
    assert (str(error), error.reason, error.backend) == (
        "RESOURCE_EXHAUSTED: none left",
        "STOCKOUT",
        "b",
    )
    details = error.details_json()
    assert details[:2] == [UNKNOWN_JSON, JOB_JSON]
    assert details[2]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
