"""`[[policy]]`: every mistake in a rule is found when the configuration loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lro_gateway.access.policy import Verb
from lro_gateway.config.loading import load
from lro_gateway.config.policy import RuleConfig, rules_of
from tests.config.test_loading import mistakes

Write = Callable[[str], Path]
RULE = '[[policy]]\nallow = ["get"]\n'
VERBS = "get, list, wait, cancel, delete, start, call, approve, explain"


def test_a_rule_loads(write: Write) -> None:
    """With every key."""
    config = load(
        write(
            """
            server = { read_only = true }
            [[policy]]
            name = "databases"
            allow = ["get", "start"]
            issuers = ["https://id.example"]
            subjects = ["ci"]
            tenants = ["data"]
            groups = ["oncall"]
            clients = ["cli"]
            scopes = ["lro.start", "lro.read"]
            backends = ["billing"]
            names = ["databases/*/operations/*", "//billing/jobs/**"]
            methods = ["*/CreateDatabase"]
            when = "args.rowCount < 100000 && caller.tenant == 'data'"
            [[policy]]
            deny = ["*"]
            [[backends]]
            name = "billing"
            target = "127.0.0.1:1"
            """
        )
    )
    default, first, second = rules_of(config.policy, read_only=config.server.read_only)
    assert [default.label, first.label, second.label] == [
        "server.read_only",
        "policy[0] (databases)",
        "policy[1]",
    ]
    assert first.verbs == {Verb.GET, Verb.START}
    assert second.verbs == set(Verb)
    assert first.when is not None
    assert first.when.needs_args


def test_without_rules_everything_is_allowed() -> None:
    """A gateway that only reads then denies changes, and allows the rest."""
    assert rules_of((), read_only=False) == []
    denies, allows = rules_of((), read_only=True)
    assert (denies.allows, denies.changes, allows.allows) == (False, True, True)


def test_every_verb_without_a_narrow_rule_includes_explanations() -> None:
    """A rule for one backend says nothing of them, because they tell of all rules."""
    assert Verb.EXPLAIN in RuleConfig(allow=("*",)).verbs
    assert Verb.EXPLAIN not in RuleConfig(allow=("*",), backends=("b",)).verbs


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            '[[policy]]\nallow = ["get", "read"]\n',
            f".allow[1]: there is no verb 'read'; the verbs are {VERBS}, and \"*\"",
        ),
        (
            "[[policy]]\nallow = []\n",
            ".allow: an empty list matches nothing; leave the key out to match everything",
        ),
        ("[[policy]]\n", ": a rule has either allow or deny, with a list of verbs"),
        (f'{RULE}deny = ["get"]\n', ": a rule has either allow or deny, with a list of verbs"),
        (
            f"{RULE}tenants = []\n",
            ".tenants: an empty list matches nothing; leave the key out to match everything",
        ),
        (f'{RULE}subjects = [""]\n', ".subjects[0]: an empty text matches no caller"),
        (
            f'{RULE}scopes = ["a b"]\n',
            ".scopes[0]: a scope has printable ASCII characters, and no blanks or quotes",
        ),
        (f'{RULE}backends = ["x"]\n', ".backends[0]: there is no backend 'x'; there are: none"),
        (f'{RULE}names = ["//x/**"]\n', ".names[0]: there is no backend 'x'; there are: none"),
        (f'{RULE}names = ["a//b"]\n', ".names[0]: no name can match 'a//b'"),
        (f'{RULE}names = ["**/a/**"]\n', ".names[0]: '**/a/**' has more than one **"),
        (
            '[[policy]]\nallow = ["call"]\nmethods = ["Create Database"]\n',
            (
                ".methods[0]: 'Create Database' is not a pattern of methods; examples are"
                ' "acme.v1.Databases/GetDatabase" and "*/Delete*"'
            ),
        ),
        (f'{RULE}when = "foo"\n', ".when: column 1: undeclared reference to 'foo'"),
        (f'{RULE}when = "verb"\n', ".when: a bool is needed, and the expression is a string"),
        (
            '[[policy]]\nallow = ["cancel"]\nread_only = true\n',
            ": read_only leaves nothing of cancel",
        ),
        (
            '[[policy]]\ndeny = ["get"]\nread_only = true\n',
            ": read_only belongs to a rule that allows",
        ),
        (
            '[[policy]]\nallow = ["start"]\nnames = ["jobs/**"]\n',
            ": names are those of operations, so they never match start",
        ),
        (
            f'{RULE}methods = ["*/Get*"]\n',
            ": methods match only start, call, approve, so they never match get",
        ),
        (
            '[[policy]]\nallow = ["get", "start"]\nnames = ["jobs/**"]\n',
            ": names do not narrow start; write methods too, or a rule of its own for start",
        ),
        (
            '[[policy]]\nallow = ["get", "start"]\nmethods = ["*/Create*"]\n',
            ": methods do not narrow get; write names too, or a rule of its own for get",
        ),
        (
            '[[policy]]\nallow = ["explain"]\nnames = ["jobs/**"]\n',
            ": names are those of operations, so they never match explain",
        ),
        (f"{RULE}group = 1\n", ".group: there is no such key; did you mean groups?"),
        ('[policy]\nallow = ["get"]\n', ": a list is needed, such as [...]"),
    ],
)
def test_a_mistake_is_reported_with_its_place(write: Write, text: str, mistake: str) -> None:
    """One that would match nothing too, and one that would match more than it seems to."""
    place = "policy" if text.startswith("[policy]") else "policy[0]"
    assert mistakes(write(text)) == [f"gateway.toml: {place}{mistake}"]
