"""Claims become a principal by the names in the configuration."""

from __future__ import annotations

from typing import Any

import pytest

from lro_gateway.access.identity.claims import ClaimNames, find_claim
from lro_gateway.principal import Principal

CLAIMS: dict[str, Any] = {
    "sub": "alice",
    "org_id": "data",
    "scope": "read start",
    "scp": ["stop"],
    "azp": "console",
    "realm_access": {"roles": ["oncall", "team lead"]},
    "https://acme.example/org": {"name": "acme"},
    "groups": "a b",
    "number": 7,
    "flag": True,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("sub", "alice"),
        ("realm_access.roles", ["oncall", "team lead"]),
        ("https://acme.example/org.name", "acme"),
        ("https://acme.example/org", {"name": "acme"}),
        ("realm_access.other", None),
        ("sub.name", None),
        ("missing", None),
        ("realm_access.", None),
    ],
)
def test_a_name_may_be_a_path_and_may_have_dots(path: str, found: Any) -> None:
    """The longest name that exists counts."""
    assert find_claim(CLAIMS, path) == found


def test_a_principal_has_what_its_claims_say() -> None:
    """Lists are taken as they are, and words of texts are separated. The first text counts."""
    names = ClaimNames(
        tenant=("missing", "org_id"), groups=("groups", "realm_access.roles"), client=("x", "azp")
    )
    assert names.principal(CLAIMS, issuer="i", expires=9.0) == Principal(
        "alice",
        "i",
        "data",
        groups=frozenset({"a", "b", "oncall", "team lead"}),
        scopes=frozenset({"read", "start", "stop"}),
        client="console",
    )
    assert names.principal(CLAIMS, issuer="i", expires=9.0).expires == 9.0
    assert ClaimNames(subject=("number",)).principal(CLAIMS, issuer="", expires=0).subject == "7"


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (ClaimNames(subject=("none", "missing")), "has no claim none or missing"),
        (ClaimNames(tenant=("realm_access",)), "has a claim realm_access that is not text"),
        (ClaimNames(tenant=("flag",)), "has a claim flag that is not text"),
        (ClaimNames(groups=("number",)), "has a claim number that is neither text nor a list"),
    ],
)
def test_a_claim_that_cannot_be_used_is_refused(names: ClaimNames, problem: str) -> None:
    """A wrong claim must not make a caller with fewer groups, whom a rule may then not refuse."""
    with pytest.raises(ValueError, match=problem):
        names.principal(CLAIMS, issuer="i", expires=0.0)
