"""The errors for credentials that identify nobody."""

from __future__ import annotations

import pytest
from jwt import exceptions as jwt

from lro_gateway.access.identity.refusals import rejected


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (jwt.ExpiredSignatureError(), "TOKEN_EXPIRED"),
        (jwt.ImmatureSignatureError(), "TOKEN_NOT_YET_VALID"),
        (jwt.InvalidAudienceError(), "TOKEN_WRONG_AUDIENCE"),
        (jwt.MissingRequiredClaimError("aud"), "TOKEN_WRONG_AUDIENCE"),
        (jwt.MissingRequiredClaimError("exp"), "TOKEN_WRONG_CLAIMS"),
        (jwt.InvalidSignatureError(), "TOKEN_WRONG_SIGNATURE"),
        (jwt.DecodeError("secret"), "TOKEN_MALFORMED"),
        (ValueError("secret"), "TOKEN_MALFORMED"),
    ],
)
def test_each_failure_has_its_reason_and_no_text_of_the_library(
    error: Exception, reason: str
) -> None:
    """A text of the library may have a part of the token."""
    refused = rejected(error, ["b", "a"])
    assert (refused.code.name, refused.reason) == ("UNAUTHENTICATED", reason)
    assert "secret" not in refused.message
