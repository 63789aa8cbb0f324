"""Conditions in CEL: mistakes are found when they are compiled, and no request makes one hang."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from lro_gateway.access.conditions import MAX_LENGTH, UnevaluableError, bind, compiled
from lro_gateway.access.deciding import variables
from lro_gateway.access.policy import Verb
from lro_gateway.access.rules import Facts
from lro_gateway.principal import Principal

CALLER = Principal("ci", "https://id", "data", frozenset({"oncall"}), frozenset({"lro"}), "cli")


def holds(source: str, **arguments: Any) -> bool:
    """Evaluate an expression for a start of Bob's with these arguments."""
    facts = Facts(Verb.START, "billing", method="acme.v1.Databases/CreateDatabase")
    return compiled(source).holds(bind(variables(CALLER, facts, arguments)))


@pytest.mark.parametrize(
    "source",
    [
        "caller.subject == 'ci' && caller.issuer == 'https://id' && caller.client == 'cli'",
        "caller.tenant == 'data'",
        "'oncall' in caller.groups && caller.scopes.exists(each, each == 'lro')",
        "verb == 'start' && backend == 'billing' && name == ''",
        "method.endsWith('/CreateDatabase') && method.matches('^acme[.]v[0-9]+[.]')",
        "hints.reads && !hints.destructive && hints.idempotent",
        "args.rowCount < 100000 && args.labels['env'] in ['dev', 'test']",
        "!has(args.parent) || args.parent.startsWith('projects/dev')",
    ],
)
def test_every_variable_has_its_value(source: str) -> None:
    """These are the variables that the documentation lists."""
    assert holds(source, rowCount=5, labels={"env": "dev"})


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("tenant == 'data'", "column 1: undeclared reference to 'tenant'"),
        ("caller.tennant == 'data'", "column 7: undeclared reference to 'caller.tennant'"),
        ("verb + 1 == 2", "column 6: found no matching overload for '_+_'"),
        ("caller.groups == 'oncall'", "column 15: found no matching overload for '_==_'"),
        ("verb", "a bool is needed, and the expression is a string"),
        ("args.rows.len() > 1", "column 14: undeclared reference to 'len'"),
        ("verb == ", "column 9: Syntax error: mismatched input '<EOF>'"),
        ("verb == 'get'\n  && foo", "line 2, column 6: undeclared reference to 'foo'"),
        ("(" * 500 + "true" + ")" * 500, "Expression recursion limit exceeded"),
        ("'" + "x" * MAX_LENGTH + "' == verb", "at most 4096 characters"),
    ],
)
def test_a_mistake_is_found_at_its_place(source: str, mistake: str) -> None:
    """The names and the types of all variables but the arguments are known beforehand."""
    with pytest.raises(ValueError, match=r".") as caught:
        compiled(source)
    assert mistake in str(caught.value)


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("caller.tenant == 'data'", (False, False, False)),
        ("hints.reads || caller.tenant == 'data'", (True, False, False)),
        ("name.startsWith(caller.tenant)", (True, True, False)),
        ("args.rowCount < 3", (True, True, True)),
        ("caller.groups.exists(args, args == 'x')", (False, False, False)),
    ],
)
def test_a_condition_knows_what_it_needs(source: str, needs: tuple[bool, bool, bool]) -> None:
    """The gateway keeps what does not depend on a request, and makes arguments only if needed."""
    condition = compiled(source)
    assert (condition.needs_action, condition.needs_request, condition.needs_args) == needs


@pytest.mark.parametrize(
    ("source", "arguments", "reason"),
    [
        ("args.rowCount < 3", {}, "Key not found in map"),
        ("args.rowCount < 3", {"rowCount": "s3cret"}, "No matching overloads found"),
        ("args.rowCount < 3", {"rowCount": 2**70}, "Integer value"),
        ("args.ready", {"ready": "s3cret"}, "the value is no bool but a string"),
        ("1 / args.rowCount == 1", {"rowCount": 0}, "divide by zero"),
        ("verb.matches(args.pattern)", {"pattern": "s3cret("}, "invalid regular expression"),
        ("args.text == 's3cret'", {"text": "s3cret\ud800"}, ""),
        ("args.rows.all(each, each > 0)", {"rows": [1] * 20_000}, "Iteration budget exceeded"),
        (
            "args.rows.all(each, args.rows.all(other, each <= other))",
            {"rows": [1] * 5000},
            "Iteration budget exceeded",
        ),
    ],
)
def test_a_condition_without_a_value_tells_why_and_shows_no_argument(
    source: str, arguments: dict[str, Any], reason: str
) -> None:
    """The reason goes to the log, which must have no payload."""
    with pytest.raises(UnevaluableError) as caught:
        holds(source, **arguments)
    assert reason in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "1180591620717411303424" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("args.text.matches('(a+)+$')", {"text": "a" * 200_000 + "b"}),
        ("args.text.matches(args.pattern)", {"text": "a" * 200_000, "pattern": "(((a*)*)*)*b"}),
        ("args.text.contains('b')", {"text": "a" * 200_000}),
    ],
)
def test_a_hostile_text_takes_no_exponential_time(source: str, arguments: dict[str, Any]) -> None:
    """Regular expressions take linear time. The limit of the test would end another kind."""
    assert holds(source, **arguments) is False


def test_a_policy_without_conditions_does_not_load_the_library() -> None:
    """It would take 4 MB of each gateway."""
    code = (
        "import sys\n"
        "import lro_gateway.commands.serving\n"
        "from lro_gateway.config.models import GatewayConfig\n"
        "for rule in ({}, {'when': 'true'}):\n"
        "    GatewayConfig.model_validate({'policy': [{'allow': ['get'], **rule}]})\n"
        "    print('cel_expr_python.cel' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]
