"""What a person is asked before a call, and what the caller is told where nobody can be asked."""

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
    """Return the refusal of a delete that a person must agree to; the backend is not called."""
    async with (
        ContraryBackend.open(HANDLERS) as backend,
        service_of(backend.target, confirm=["*/DeleteOperation"]) as service,
    ):
        with pytest.raises(ConfirmationRequiredError) as caught:
            await service.delete(ANONYMOUS, NameRequest(name))
        assert backend.calls == []
    return caught.value


async def test_a_marked_call_is_refused_with_the_question_for_a_person() -> None:
    """The error tells a program the method, the question tells a person what the call does."""
    error = await refused("jobs/1")
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "CONFIRMATION_REQUIRED")
    assert error.details_json()[0]["metadata"] == {"method": DELETE, "backend": "b"}
    assert error.question.startswith(f"Call {DELETE} on backend b? ")
    assert "jobs/1" in error.question


async def test_a_question_is_one_line_that_hides_nothing_and_has_an_end() -> None:
    """A name may hold characters that do not print, and be as long as the gateway allows."""
    error = await refused("jobs/\u202e" + "x" * 900)
    assert "\\u202e" in error.question
    assert error.question.isprintable()
    assert len(error.question) < 500


async def test_a_call_that_is_agreed_to_is_made() -> None:
    """`confirmed` says so, and the backend gets the call."""
    async with (
        ContraryBackend.open(HANDLERS) as backend,
        service_of(backend.target, confirm=["*/DeleteOperation"]) as service,
    ):
        await service.delete(ANONYMOUS, NameRequest("jobs/1", confirmed=True))
    assert [call.method for call in backend.calls] == ["DeleteOperation"]


async def test_a_person_who_does_not_agree_is_a_refusal_of_its_own() -> None:
    """A program can tell it from a call that nobody was asked about."""
    error = declined(await refused("jobs/1"))
    assert (error.code, error.reason, error.backend) == (
        Code.PERMISSION_DENIED,
        "CONFIRMATION_DECLINED",
        "b",
    )
