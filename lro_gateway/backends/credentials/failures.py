"""Why the gateway has no credentials for a call, and the errors that tell it to the caller."""

from __future__ import annotations

from typing import Final

from lro_gateway.errors import Code, StatusError, status_error

_CURES: Final = {
    "invalid_client": "correct client_id and client_secret",
    "unauthorized_client": "allow this client the grant at the authorization server",
    "unsupported_grant_type": "allow the grant at the authorization server",
    "invalid_scope": "correct scopes",
    "invalid_target": "correct audience and resource",
}


class CredentialsError(Exception):
    """There is no token for a call. The text tells why, without any secret.

    `passes` is true if a later attempt may succeed. `refuses_caller` is true if the authorization
    server does not accept the token of the caller.
    """

    def __init__(self, text: str, *, passes: bool = False, refuses_caller: bool = False) -> None:
        super().__init__(text)
        self.passes = passes
        self.refuses_caller = refuses_caller


def refused_grant(endpoint: str, error: str, *, of_caller: bool) -> CredentialsError:
    """Return the failure for an `error` of RFC 6749, section 5.2."""
    if of_caller and error in {"invalid_grant", "invalid_request"}:
        text = f"{endpoint} does not accept the token of the caller ({error})"
        return CredentialsError(text, refuses_caller=True)
    cure = _CURES.get(error, "look at the log of the authorization server")
    return CredentialsError(f"{endpoint} refused to issue a token ({error}): {cure}")


def unavailable(backend: str, failure: CredentialsError) -> StatusError:
    """Return the error of a call that was not sent, because there is no token for it."""
    text = f"there are no credentials for backend {backend!r}: {failure}"
    if failure.refuses_caller:
        error = status_error(
            Code.PERMISSION_DENIED, text, "TOKEN_EXCHANGE_REFUSED", backend=backend
        )
    elif failure.passes:
        error = status_error(Code.UNAVAILABLE, text, "CREDENTIALS_UNAVAILABLE", backend=backend)
    else:
        error = status_error(
            Code.FAILED_PRECONDITION,
            text,
            "CREDENTIALS_REFUSED",
            metadata={"setting": "credentials"},
            backend=backend,
        )
    error.unsent = True
    return error


def caller_token_needed(backend: str) -> StatusError:
    """Return the error for a caller whose identity cannot be exchanged for a token."""
    error = status_error(
        Code.FAILED_PRECONDITION,
        f"backend {backend!r} gets the identity of each caller by token exchange, so call with an"
        " OAuth token; a static token, a certificate or no credentials cannot be exchanged",
        "CALLER_TOKEN_NEEDED",
        backend=backend,
    )
    error.unsent = True
    return error
