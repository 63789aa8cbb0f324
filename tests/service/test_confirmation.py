"""Confirmation: the question for a person, and the error if no person has agreed."""

from __future__ import annotations

import pytest
from google.longrunning import operations_pb2

from lro_gateway.errors import Code
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service.confirmation import ConfirmationRequiredError, declined
from lro_gateway.service.verb_requests import NameRequest
from tests.contrary import ContraryBackend, knowing
from tests.gateways import service_of

DELETE = "google.longrunning.Operations/DeleteOperation"
HANDLERS = knowing(operations_pb2.Operation(name="jobs/1", done=True))


async def refused(name: str) -> ConfirmationRequiredError:
    """Return the error of a delete that a person must agree to; the backend is not called."""
    async with (
        ContraryBackend.open(HANDLERS) as backend,
        service_of(backend.target, confirm=["*/DeleteOperation"]) as service,
    ):
        with pytest.raises(ConfirmationRequiredError) as caught:
            await service.delete(ANONYMOUS, NameRequest(name))
        assert backend.calls == []
    return caught.value


async def test_a_marked_call_is_refused_with_the_question_for_a_person() -> None:
    """The error names the method for programs, and the question describes the call to a person."""
    error = await refused("jobs/1")
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "CONFIRMATION_REQUIRED")
    assert error.details_json()[0]["metadata"] == {"method": DELETE, "backend": "b"}
    assert error.question.startswith(f"Call {DELETE} on backend b? ")
    assert "jobs/1" in error.question


async def test_a_question_is_one_short_line_of_printable_characters() -> None:
    """A name may contain characters that do not print, and may have up to 1024 characters."""
    error = await refused("jobs/\u202e" + "x" * 900)
    assert "\\u202e" in error.question
    assert error.question.isprintable()
    assert len(error.question) < 500


async def test_a_confirmed_call_is_made() -> None:
    """The backend gets the call if the request has `confirmed`."""
    async with (
        ContraryBackend.open(HANDLERS) as backend,
        service_of(backend.target, confirm=["*/DeleteOperation"]) as service,
    ):
        await service.delete(ANONYMOUS, NameRequest("jobs/1", confirmed=True))
    assert [call.method for call in backend.calls] == ["DeleteOperation"]


async def test_a_declined_call_has_an_error_of_its_own() -> None:
    """A program can distinguish it from a call that no person was shown."""
    error = declined(await refused("jobs/1"))
    assert (error.code, error.reason, error.backend) == (
        Code.PERMISSION_DENIED,
        "CONFIRMATION_DECLINED",
        "b",
    )
