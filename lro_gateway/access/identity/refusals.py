"""The errors for credentials that identify nobody. No error has a part of the credentials."""

from __future__ import annotations

from collections.abc import Iterable

from jwt import exceptions as jwt

from lro_gateway.errors import Code, StatusError, status_error


def credentials_missing(advice: Iterable[str]) -> StatusError:
    """Return the error of a request without credentials. `advice` is how to have some."""
    text = f"the request has no credentials; {', or '.join(advice)}"
    return status_error(Code.UNAUTHENTICATED, text, "CREDENTIALS_MISSING")


def callers_differ() -> StatusError:
    """Return the error of a request whose credentials name different callers."""
    text = (
        "the request has two kinds of credentials, which name different callers; send only one:"
        " a client certificate, the header of a proxy, or a bearer token"
    )
    return status_error(Code.UNAUTHENTICATED, text, "CALLERS_DIFFER")


def credentials_malformed(problem: str) -> StatusError:
    """Return the error of a request whose header Authorization cannot be read."""
    return status_error(Code.UNAUTHENTICATED, problem, "CREDENTIALS_MALFORMED")


def token_in_query() -> StatusError:
    """Return the error of a request with a token in its query, which logs and histories keep."""
    text = "a token in the query is refused; send it in the header 'Authorization: Bearer ...'"
    return status_error(Code.UNAUTHENTICATED, text, "TOKEN_IN_QUERY")


def token_malformed() -> StatusError:
    """Return the error of a token that is neither a JWT nor a static token."""
    text = (
        "the token is neither a JWT nor a token of this gateway;"
        " send an access token of an issuer, or a static token"
    )
    return status_error(Code.UNAUTHENTICATED, text, "TOKEN_MALFORMED")


def token_unknown() -> StatusError:
    """Return the error of a static token that the file of tokens does not have."""
    text = "the gateway has no such token; it may have been removed, so use another one"
    return status_error(Code.UNAUTHENTICATED, text, "TOKEN_UNKNOWN")


def token_expired() -> StatusError:
    """Return the error of a token that has ended, before a request or during a stream."""
    return status_error(
        Code.UNAUTHENTICATED, "the token has expired; get a new one", "TOKEN_EXPIRED"
    )


def wrong_issuer() -> StatusError:
    """Return the error of a token whose issuer is not configured."""
    text = (
        "the issuer of the token is not one that this gateway trusts;"
        " /.well-known/oauth-protected-resource lists those"
    )
    return status_error(Code.UNAUTHENTICATED, text, "TOKEN_WRONG_ISSUER")


def wrong_algorithm(allowed: Iterable[str]) -> StatusError:
    """Return the error of a token whose algorithm is not allowed."""
    text = f"the algorithm of the token is not allowed; these are: {', '.join(allowed)}"
    return status_error(Code.UNAUTHENTICATED, text, "TOKEN_WRONG_ALGORITHM")


def unknown_key() -> StatusError:
    """Return the error of a token whose key its issuer does not publish."""
    text = "the issuer does not publish the key that signed the token; get a new token"
    return status_error(Code.UNAUTHENTICATED, text, "TOKEN_UNKNOWN_KEY")


def wrong_claims(problem: str) -> StatusError:
    """Return the error of a token that says too little of its caller."""
    return status_error(Code.UNAUTHENTICATED, f"the token {problem}", "TOKEN_WRONG_CLAIMS")


def issuer_unavailable(problem: str) -> StatusError:
    """Return the error of a token while the gateway has no keys of its issuer."""
    text = f"the token cannot be verified, because the keys of its issuer are missing: {problem}"
    return status_error(Code.UNAVAILABLE, text, "ISSUER_UNAVAILABLE")


def rejected(error: Exception, audiences: Iterable[str]) -> StatusError:
    """Return the error of a token whose verification has failed with this error."""
    match error:
        case jwt.ExpiredSignatureError():
            return token_expired()
        case jwt.ImmatureSignatureError():
            return status_error(
                Code.UNAUTHENTICATED,
                "the token is not valid yet; use it later",
                "TOKEN_NOT_YET_VALID",
            )
        case jwt.InvalidAudienceError() | jwt.MissingRequiredClaimError(claim="aud"):
            accepted = " or ".join(sorted(audiences))
            return status_error(
                Code.UNAUTHENTICATED,
                f"the token is for another audience; it must be for {accepted}",
                "TOKEN_WRONG_AUDIENCE",
            )
        case jwt.InvalidSignatureError():
            return status_error(
                Code.UNAUTHENTICATED,
                "the signature of the token is wrong; send the token as its issuer made it",
                "TOKEN_WRONG_SIGNATURE",
            )
        case jwt.MissingRequiredClaimError():
            return wrong_claims(f"has no claim {error.claim}")
        case _:
            return token_malformed()
