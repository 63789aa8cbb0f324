"""Each reason why there is no token has its own code, reason and cure."""

from __future__ import annotations

import pytest

from lro_gateway.backends.credentials.failures import (
    CredentialsError,
    caller_token_needed,
    refused_grant,
    unavailable,
)
from lro_gateway.errors import Code

URL = "https://login.test/token"


@pytest.mark.parametrize(
    ("failure", "code", "reason"),
    [
        (CredentialsError("away", passes=True), Code.UNAVAILABLE, "CREDENTIALS_UNAVAILABLE"),
        (CredentialsError("wrong"), Code.FAILED_PRECONDITION, "CREDENTIALS_REFUSED"),
        (
            refused_grant(URL, "invalid_grant", of_caller=True),
            Code.PERMISSION_DENIED,
            "TOKEN_EXCHANGE_REFUSED",
        ),
        (
            refused_grant(URL, "invalid_grant", of_caller=False),
            Code.FAILED_PRECONDITION,
            "CREDENTIALS_REFUSED",
        ),
    ],
)
def test_a_failure_becomes_the_error_of_a_call_that_was_not_sent(
    failure: CredentialsError, code: Code, reason: str
) -> None:
    """A start that was certainly not sent may be made again."""
    error = unavailable("jobs", failure)
    assert (error.code, error.reason, error.unsent, error.backend) == (code, reason, True, "jobs")
    assert error.message == f"there are no credentials for backend 'jobs': {failure}"


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        ("invalid_client", "correct client_id and client_secret"),
        ("invalid_scope", "correct scopes"),
        ("invalid_target", "correct audience and resource"),
        ("anything_else", "look at the log of the authorization server"),
    ],
)
def test_a_refused_grant_has_a_cure(error: str, cure: str) -> None:
    """The error of OAuth is in the text, so that its own documentation can be found."""
    failure = refused_grant(URL, error, of_caller=False)
    assert str(failure) == f"{URL} refused to issue a token ({error}): {cure}"


def test_a_caller_learns_which_token_the_backend_needs() -> None:
    """The text names what cannot be exchanged."""
    error = caller_token_needed("jobs")
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "CALLER_TOKEN_NEEDED")
    assert "call with an OAuth token" in error.message
    assert error.unsent
