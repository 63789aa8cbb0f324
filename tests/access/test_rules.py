"""Rules: which names their patterns match, and why a rule does not match."""

from __future__ import annotations

import pytest

from lro_gateway.access.policy import Verb
from lro_gateway.access.rules import Facts, NameRule, Rule, hints_of
from lro_gateway.principal import Principal


def rule(*names: str, allows: bool = True) -> Rule:
    """Make a rule about the names that these patterns match."""
    patterns = tuple(map(NameRule.parse, names))
    return Rule("policy[0]", allows=allows, verbs=frozenset(Verb), names=patterns)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("databases/*/operations/*", "databases/x/operations/1", True),
        ("databases/*/operations/*", "//east/databases/x/operations/1", True),
        ("databases/*/operations/*", "databases/x/y/operations/1", False),
        ("databases/x/**", "databases/x/y/operations/1", True),
        ("databases/x/**", "databases/xy/operations/1", False),
        ("//east/databases/**", "//east/databases/x", True),
        ("//west/databases/**", "//east/databases/x", False),
        ("**", "//east/../x", True),
        ("//east/**", "//east//", True),
        ("databases/**", "//east/databases/../secrets/operations/1", False),
        ("databases/**", "//east/databases//x", False),
        ("databases/**", "//east/databases/x\n", False),
    ],
)
def test_a_pattern_matches_canonical_names(pattern: str, name: str, matches: bool) -> None:
    """A name that its backend may read in another way matches no pattern that allows."""
    facts = Facts(Verb.GET, "east", name)
    assert (rule(pattern).wrong_name(facts) == "") is matches


@pytest.mark.parametrize("name", ["//east/public/../secrets/1", "//east/secrets//1", "//east/a\n"])
def test_a_name_that_may_be_read_in_another_way_is_denied(name: str) -> None:
    """Whatever the patterns of the rule are."""
    assert rule("secrets/**", allows=False).wrong_name(Facts(Verb.GET, "east", name)) == ""


@pytest.mark.parametrize(
    ("pattern", "parent", "may"),
    [
        ("databases/x/operations/*", "", True),
        ("databases/x/operations/*", "databases", True),
        ("databases/x/operations/*", "databases/x", True),
        ("databases/x/operations/*", "databases/y", False),
        ("databases/x/operations/*", "databases/-", True),
        ("databases/x/operations/*", "-", True),
        ("databases/x/operations/*", "backups/-/x", False),
        ("databases/x/operations/*", "//east/databases/x", True),
        ("//west/databases/**", "//east/databases/x", False),
        ("**", "anything", True),
    ],
)
def test_a_list_may_show_what_is_below_its_parent(pattern: str, parent: str, may: bool) -> None:
    """So the parent need not match a pattern of operations itself."""
    assert rule(pattern).may_match_below(Facts(Verb.LIST, "east", parent)) is may


@pytest.mark.parametrize("pattern", ["a//b", "/a", "a/", "../a", "a/{x", "a/*b", "**/a/**", ""])
def test_a_pattern_that_matches_nothing_is_refused(pattern: str) -> None:
    """It would make an allowing rule useless, and a denying one dangerous."""
    with pytest.raises(ValueError, match=r"\w"):
        NameRule.parse(pattern)


CALLER = Principal("ci", "https://id", "data", frozenset({"dev"}), frozenset({"read"}), "cli")
ONE = frozenset({"other"})


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (Rule("r", True, frozenset(Verb), issuers=ONE), "the issuer is not other"),
        (Rule("r", True, frozenset(Verb), subjects=ONE), "the subject is not other"),
        (Rule("r", True, frozenset(Verb), tenants=ONE), "the tenant is not other"),
        (Rule("r", True, frozenset(Verb), clients=ONE), "the client is not other"),
        (Rule("r", True, frozenset(Verb), groups=ONE), "the caller is not in other"),
        (Rule("r", True, frozenset(Verb), groups=ONE | {"dev"}), ""),
    ],
)
def test_a_rule_tells_why_it_does_not_match_a_caller(made: Rule, why: str) -> None:
    """An explanation prints the text."""
    assert made.wrong_caller(CALLER) == why


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (Rule("r", True, frozenset({Verb.GET, Verb.LIST})), "its verbs are one of get, list"),
        (Rule("r", True, frozenset(Verb), backends=ONE), "the backend is not other"),
        (Rule("r", True, frozenset(Verb), methods=("*/Get*",)), "the method does not match */Get*"),
        (Rule("r", True, frozenset(Verb), reads=True), "it is for reads only"),
        (Rule("r", False, frozenset(Verb), changes=True), ""),
    ],
)
def test_a_rule_tells_why_it_does_not_match_an_action(made: Rule, why: str) -> None:
    """An explanation prints the text."""
    facts = Facts(Verb.START, "b", method="acme.v1.D/Create", hints=hints_of(Verb.CANCEL))
    assert made.wrong_action(facts) == why
