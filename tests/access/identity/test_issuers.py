"""A JWT of an issuer is valid only if everything about it is right."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from lro_gateway.access.identity.claims import ClaimNames
from lro_gateway.access.identity.issuers import Issuer
from lro_gateway.access.identity.key_cache import KeyCache
from lro_gateway.background import BackgroundTasks
from lro_gateway.errors import StatusError
from lro_gateway.principal import Principal
from tests.access.token_signer import TokenSigner

OWN = frozenset({"https://gateway.test", "https://gateway.test/mcp"})
URL = "https://issuer.test"
_OTHER_AUDIENCE = (
    "the token is for another audience; it must be for https://gateway.test or"
    " https://gateway.test/mcp"
)


class Source:
    """The keys of a signer."""

    def __init__(self, signer: TokenSigner) -> None:
        self.signer = signer

    async def document(self) -> Any:
        return self.signer.jwks()


@pytest.fixture
def signer() -> TokenSigner:
    """Return the signer of the issuer."""
    return TokenSigner(URL, "https://gateway.test/mcp")


@pytest.fixture
async def issuer(signer: TokenSigner) -> AsyncIterator[Callable[..., Issuer]]:
    """Yield a function that makes the issuer with further settings."""
    async with BackgroundTasks(timedelta(0)) as tasks:

        def make(**settings: Any) -> Issuer:
            keys = KeyCache(URL, Source(signer), timedelta(minutes=5), lambda: None, tasks)
            return Issuer(URL, keys, **settings)

        yield make


async def principal(issuer: Issuer, token: str) -> Principal:
    """Return the caller of a token."""
    return await issuer.principal(token, jwt.get_unverified_header(token), OWN)


@pytest.mark.parametrize("kind", ["EC", "RSA", "OKP"])
async def test_a_valid_token_identifies_its_caller(
    kind: str, signer: TokenSigner, issuer: Callable[..., Issuer]
) -> None:
    """The claims are taken by the names that are configured."""
    signer.rotate(kind)
    made = issuer(claims=ClaimNames(tenant=("org",)))
    end = int(time.time()) + 60
    token = signer.token(org="data", scope="read start", groups=["x"], exp=end)
    caller = await principal(made, token)
    assert caller == Principal(
        "alice",
        URL,
        "data",
        groups=frozenset({"x"}),
        scopes=frozenset({"read", "start"}),
        client="console",
    )
    assert caller.expires == end
    assert caller.token is not None
    assert caller.token.get_secret_value() == token
    assert token not in repr(caller)


BAD: dict[str, tuple[Callable[[TokenSigner], str], str, str]] = {
    "expired": (TokenSigner.expired, "TOKEN_EXPIRED", "the token has expired; get a new one"),
    "not yet valid": (
        TokenSigner.not_yet_valid,
        "TOKEN_NOT_YET_VALID",
        "the token is not valid yet; use it later",
    ),
    "issued in the future": (
        lambda s: s.token(iat=int(time.time()) + 3600),
        "TOKEN_NOT_YET_VALID",
        "the token is not valid yet; use it later",
    ),
    "another audience": (
        lambda s: s.token(aud="https://other.test"),
        "TOKEN_WRONG_AUDIENCE",
        _OTHER_AUDIENCE,
    ),
    "no audience": (
        lambda s: s.token(aud=None),
        "TOKEN_WRONG_AUDIENCE",
        _OTHER_AUDIENCE,
    ),
    "alg none": (
        TokenSigner.unsigned,
        "TOKEN_WRONG_ALGORITHM",
        "the algorithm of the token is not allowed; these are: RS256, ES256, PS256, EdDSA",
    ),
    "HS256 with the public key": (
        TokenSigner.signed_with_public_key,
        "TOKEN_WRONG_ALGORITHM",
        "the algorithm of the token is not allowed; these are: RS256, ES256, PS256, EdDSA",
    ),
    "unknown key": (
        TokenSigner.of_unknown_key,
        "TOKEN_UNKNOWN_KEY",
        "the issuer does not publish the key that signed the token; get a new token",
    ),
    "key of another algorithm": (
        lambda s: s.token(header={"kid": s.rotate("RSA").kid}, key=s.published[0]),
        "TOKEN_UNKNOWN_KEY",
        "the issuer does not publish the key that signed the token; get a new token",
    ),
    "forged": (
        TokenSigner.forged,
        "TOKEN_WRONG_SIGNATURE",
        "the signature of the token is wrong; send the token as its issuer made it",
    ),
    "without an end": (
        lambda s: s.token(exp=None),
        "TOKEN_WRONG_CLAIMS",
        "the token has no claim exp",
    ),
    "without a subject": (
        lambda s: s.token(sub=None),
        "TOKEN_WRONG_CLAIMS",
        "the token has no claim sub, which tells the subject",
    ),
    "an end that is no time": (
        lambda s: s.token(exp="soon"),
        "TOKEN_MALFORMED",
        (
            "the token is neither a JWT nor a token of this gateway; send an access token of an"
            " issuer, or a static token"
        ),
    ),
    "a key that is no text": (
        TokenSigner.token,
        "TOKEN_MALFORMED",
        (
            "the token is neither a JWT nor a token of this gateway; send an access token of an"
            " issuer, or a static token"
        ),
    ),
    "an end that is text": (
        lambda s: s.token(exp=str(int(time.time()) + 3600)),
        "TOKEN_WRONG_CLAIMS",
        "the token has a claim exp that is no number",
    ),
    "a beginning that is a truth value": (
        lambda s: s.token(nbf=True),
        "TOKEN_WRONG_CLAIMS",
        "the token has a claim nbf that is no number",
    ),
    "a token for a logout": (
        lambda s: s.token(header={"typ": "logout+jwt"}),
        "TOKEN_WRONG_CLAIMS",
        "the token is for another use, as its header typ says; send an access token",
    ),
    "a proof of a key": (
        lambda s: s.token(header={"typ": "application/DPoP+JWT"}),
        "TOKEN_WRONG_CLAIMS",
        "the token is for another use, as its header typ says; send an access token",
    ),
    "an end beyond all numbers": (
        lambda signer: signer.token(exp=10**400),
        "TOKEN_WRONG_CLAIMS",
        "the token has a claim exp that is too large",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused_with_its_reason(
    name: str, signer: TokenSigner, issuer: Callable[..., Issuer]
) -> None:
    """The text says what is wrong, and has no part of the token."""
    make, reason, text = BAD[name]
    token = make(signer)
    header = {"alg": "ES256", "kid": 7} if "no text" in name else jwt.get_unverified_header(token)
    with pytest.raises(StatusError) as caught:
        await issuer().principal(token, header, OWN)
    error = caught.value
    assert (error.code.name, error.reason, error.message) == ("UNAUTHENTICATED", reason, text)
    assert not any(part in str(error) for part in token.split(".") if part)


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "application/at+JWT", "jwt"])
async def test_a_token_may_say_that_it_is_an_access_token(
    typ: str, signer: TokenSigner, issuer: Callable[..., Issuer]
) -> None:
    """RFC 9068 has the type `at+jwt`, and most issuers write JWT."""
    token = signer.token(header={"typ": typ})
    caller = await issuer().principal(token, jwt.get_unverified_header(token), OWN)
    assert caller.issuer == signer.issuer


async def test_a_token_that_names_no_key_is_tried_with_each(
    signer: TokenSigner, issuer: Callable[..., Issuer]
) -> None:
    """A header need not have `kid`."""
    first = signer.key
    signer.rotate()
    token = signer.token(key=first, header={"kid": ""})
    assert (await principal(issuer(), token)).subject == "alice"
    with pytest.raises(StatusError, match="signature"):
        await principal(issuer(), token[:-8] + "A" * 8)


async def test_clocks_may_differ_a_little(
    signer: TokenSigner, issuer: Callable[..., Issuer]
) -> None:
    """A token is then valid until the end of the difference, so that no stream ends at once."""
    now = int(time.time())
    ended, early = signer.token(exp=now - 10), signer.token(nbf=now + 10, iat=now + 10)
    assert (await principal(issuer(skew=30), ended)).expires == now + 20
    assert (await principal(issuer(skew=30), early)).subject == "alice"
    for token in (ended, early):
        with pytest.raises(StatusError):
            await principal(issuer(skew=0), token)


async def test_an_issuer_may_demand_more_claims(
    signer: TokenSigner, issuer: Callable[..., Issuer]
) -> None:
    """Such as the time before which a token is not valid, which some issuers leave out."""
    made = issuer(required=("nbf",))
    assert (await principal(made, signer.token(nbf=int(time.time())))).subject == "alice"
    with pytest.raises(StatusError, match="no claim nbf"):
        await principal(made, signer.token(nbf=None))


async def test_an_issuer_may_have_its_own_audiences_and_algorithms(
    signer: TokenSigner, issuer: Callable[..., Issuer]
) -> None:
    """Then the gateway's own address is no audience."""
    made = issuer(audiences=frozenset({"api"}), algorithms=("RS256",))
    with pytest.raises(StatusError, match="algorithm"):
        await principal(made, signer.token(aud="api"))
    signer.rotate("RSA")
    await made.keys.refresh()
    assert (await principal(made, signer.token(aud=["other", "api"]))).subject == "alice"
    with pytest.raises(StatusError, match="it must be for api"):
        await principal(made, signer.token())


async def test_without_keys_a_token_cannot_be_verified(
    signer: TokenSigner, issuer: Callable[..., Issuer]
) -> None:
    """This is no fault of the caller, so a client does not ask a person to sign in again."""
    token = signer.token()
    signer.published.clear()
    with pytest.raises(StatusError) as caught:
        await issuer().principal(token, jwt.get_unverified_header(token), OWN)
    assert (caught.value.code.name, caught.value.reason) == ("UNAVAILABLE", "ISSUER_UNAVAILABLE")
