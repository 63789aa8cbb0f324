"""Calls that wait for an approval as operations."""

from __future__ import annotations

import datetime as dt

import pytest
from google.longrunning import operations_pb2

from lro_gateway.descriptors.type_set import TypeSet
from lro_gateway.errors import Code, status_error
from lro_gateway.operations.operation import Operation, State
from lro_gateway.principal import Principal
from lro_gateway.records.approval import Approval, ApprovalState, Asked
from lro_gateway.service.approval_handles import (
    entry_of,
    handle,
    handle_types,
    id_of,
    is_backends,
    is_handle,
    is_pending,
    name_of,
)

ID = "0" * 31 + "1"
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
ANA = Principal("ana", "https://id", "data")
ASKED = Asked(ID, ANA, "east", "p.S/M", "", False, NOW, NOW + dt.timedelta(hours=24))


def handle_in(state: ApprovalState, outcome: object = None) -> Operation:
    """Return the handle of a call in a state."""
    decided = () if state is ApprovalState.PENDING else (NOW, ANA, "fine", "", "")
    return handle(Approval(ASKED, state, *decided), {"n": 1.0}, outcome, handle_types())


def test_only_the_names_of_handles_are_such_names() -> None:
    """A backend may have operations with similar names."""
    assert id_of(name_of(ID)) == ID
    for other in ("approvals/1", f"approvals/{ID}/x", f"x/approvals/{ID}", f"approvals/{ID}\n"):
        assert id_of(other) == ""


def test_the_metadata_tells_of_the_call() -> None:
    """It has the request, who has asked, and what happens next."""
    found = handle_in(ApprovalState.PENDING)
    assert entry_of(found) == {
        "name": f"approvals/{ID}",
        "state": "PENDING",
        "statusMessage": (
            "It is not called yet. It waits for an approval until 2026-01-03T03:04:05Z."
        ),
        "backend": "east",
        "method": "p.S/M",
        "request": {"n": 1.0},
        "requester": {"issuer": "https://id", "subject": "ana", "tenant": "data"},
        "createTime": "2026-01-02T03:04:05Z",
        "expireTime": "2026-01-03T03:04:05Z",
    }
    assert found.create_time == NOW


@pytest.mark.parametrize(
    ("state", "ends", "code"),
    [
        (ApprovalState.PENDING, State.RUNNING, 0),
        (ApprovalState.APPROVED, State.RUNNING, 0),
        (ApprovalState.STARTING, State.RUNNING, 0),
        (ApprovalState.STARTED, State.SUCCEEDED, 0),
        (ApprovalState.FAILED, State.FAILED, Code.UNKNOWN),
        (ApprovalState.REFUSED, State.FAILED, Code.PERMISSION_DENIED),
        (ApprovalState.EXPIRED, State.FAILED, Code.DEADLINE_EXCEEDED),
        (ApprovalState.CANCELLED, State.CANCELLED, Code.CANCELLED),
        (ApprovalState.UNKNOWN, State.FAILED, Code.UNKNOWN),
    ],
)
def test_each_state_has_an_end(state: ApprovalState, ends: State, code: int) -> None:
    """Only a call that waits or starts goes on."""
    found = handle_in(state)
    assert (found.state, found.error.code) == (ends, code)
    assert is_handle(found)
    assert is_pending(found) is (state is ApprovalState.PENDING)
    assert entry_of(found)["state"] == state.name


def test_the_types_of_an_outcome_are_those_of_its_maker() -> None:
    """The errors of the gateway can be printed without a backend."""
    own = operations_pb2.Operation(error=status_error(Code.NOT_FOUND, "gone", "GONE").status)
    theirs = operations_pb2.Operation()
    theirs.error.message = "theirs"
    assert [is_backends(each) for each in (None, own, theirs)] == [False, False, True]
    assert is_backends(operations_pb2.Operation())
    printed = handle_in(ApprovalState.FAILED, own).to_json()
    assert printed["error"]["details"][0]["reason"] == "GONE"


def test_the_file_is_added_to_the_types_of_a_backend_once() -> None:
    """They then have the type of the metadata too."""
    types = TypeSet()
    pending = Approval(ASKED, ApprovalState.PENDING)
    states = {entry_of(handle(pending, None, None, types))["state"] for _ in range(2)}
    assert states == {"PENDING"}
