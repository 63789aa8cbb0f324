"""Explanations: they agree with the decisions, and tell why each earlier rule does not decide."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from lro_gateway.access.policy import Action
from tests.access.test_rule_policy import ALICE, BOB, CHANGES, READS, on, policy, start

RULES: list[dict[str, Any]] = [
    {"deny": ["cancel", "list"], "names": ["jobs/1"]},
    {"allow": ["get", "list"], "groups": ["oncall"], "names": ["jobs/**"]},
    {"allow": ["start", "call"], "methods": ["*/Build*"], "when": "args.parent == 'lines/1'"},
    {"allow": ["*"], "scopes": ["admin", "read"], "name": "administrators"},
    {"deny": ["*"], "scopes": ["read"], "when": "verb == 'delete'"},
    {"allow": ["*"], "read_only": True, "tenants": ["data"]},
    {"allow": ["wait"], "when": "name.startsWith('other/')"},
    {"deny": ["*"], "when": "args.missing == 1 && verb == 'wait'"},
    {"allow": ["*"], "backends": ["west"]},
]
ACTIONS: list[Action] = [
    *(
        on(verb, name, backend)
        for verb, name, backend in product(
            ("get", "list", "wait", "cancel", "delete"),
            ("jobs/1", "jobs/2", "other/1", "//east/a/../b"),
            ("east", "west"),
        )
    ),
    start(CHANGES, parent="lines/1"),
    start(CHANGES, parent="lines/2"),
    start(READS, parent="lines/2"),
]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("first", range(len(RULES)))
def test_an_explanation_agrees_with_the_decision(first: int, read_only: bool) -> None:
    """For every action and caller, and whichever rule comes first."""
    decides = policy(*RULES[first:], *RULES[:first], read_only=read_only)
    for caller, action in product((ALICE, BOB), ACTIONS):
        decision = decides.decide(caller, action)
        explained = decides.explain(caller, action)
        label = decision.rule.label if decision.rule is not None else ""
        assert (explained.allowed, explained.rule) == (decision.allowed, label)
        if not decision.allowed:
            assert explained.scopes == decision.scopes
        assert (explained.steps[-1].rule == label) is bool(label)


def test_each_rule_before_the_deciding_one_has_its_reason() -> None:
    """In the order of the configuration."""
    explained = policy(*RULES).explain(ALICE, on("delete", "jobs/1"))
    assert [(each.rule, each.because) for each in explained.steps] == [
        ("policy[0]", "its verbs are one of cancel, list"),
        ("policy[1]", "its verbs are one of get, list"),
        ("policy[2]", "its verbs are one of call, start"),
        ("policy[3] (administrators)", "the caller lacks admin"),
        ("policy[4]", "it matches, and denies"),
    ]
    assert explained.scopes == {"admin", "read"}


def test_a_condition_without_a_value_is_explained() -> None:
    """It denies."""
    explained = policy({"allow": ["start"], "when": "args.parent < 3"}).explain(BOB, start())
    assert explained.steps[-1].because == (
        "its condition has no value, so it denies: No matching overloads found"
    )
