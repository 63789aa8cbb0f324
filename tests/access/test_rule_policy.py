"""Decisions by rules: the first that matches decides, and without one the answer is no."""

from __future__ import annotations

from typing import Any

import pytest

from lro_gateway.access.policy import (
    Action,
    ExplainAction,
    ListAction,
    MethodAction,
    OperationAction,
    Verb,
)
from lro_gateway.access.rule_policy import RulePolicy
from lro_gateway.config.policy import RuleConfig, rules_of
from lro_gateway.descriptors.hints import Hints
from lro_gateway.errors import StatusError
from lro_gateway.operations.names import GatewayName
from lro_gateway.principal import Principal
from tests import factory

ALICE = Principal("alice", "https://id", "data", frozenset({"oncall"}), frozenset({"read"}))
BOB = Principal("bob", "https://id", "web")
READS = Hints(reads=True, destroys=False, idempotent=True)
CHANGES = Hints(reads=False, destroys=None, idempotent=False)


def policy(*rules: dict[str, Any], read_only: bool = False) -> RulePolicy:
    """Make a policy of these tables of the configuration, for the backends east and west."""
    configured = [RuleConfig.model_validate(rule) for rule in rules]
    return RulePolicy(rules_of(configured, read_only=read_only), ("east", "west"))


def on(verb: str, name: str = "jobs/1", backend: str = "east") -> Action:
    """Make the action of a verb on an operation, or on the operations of a parent."""
    if verb == "list":
        return ListAction(backend, GatewayName(name))
    return OperationAction(Verb(verb), backend, GatewayName(name))


def start(hints: Hints = CHANGES, /, **fields: Any) -> Action:
    """Make the action to start BuildMachine with these fields."""
    request = factory.message("BuildMachineRequest", **fields)
    method = factory.method("BuildMachine")
    return MethodAction(Verb.START, "east", method, request, hints, factory.types())


async def outcome(decides: RulePolicy, caller: Principal, action: Action) -> str:
    """Return the label of the rule that allows an action, or the reason of the refusal."""
    try:
        return await decides.authorize(caller, action)
    except StatusError as error:
        return str(error.reason)


async def test_the_first_rule_that_matches_decides() -> None:
    """Each rule is known by its place and its name."""
    decides = policy(
        {"deny": ["cancel"], "names": ["jobs/1"]},
        {"allow": ["get", "cancel"], "name": "jobs", "names": ["jobs/**"]},
        {"deny": ["*"]},
    )
    assert await outcome(decides, BOB, on("get")) == "policy[1] (jobs)"
    assert await outcome(decides, BOB, on("cancel")) == "POLICY_DENIED"
    assert await outcome(decides, BOB, on("cancel", "jobs/2")) == "policy[1] (jobs)"
    assert await outcome(decides, BOB, on("delete", "jobs/2")) == "POLICY_DENIED"
    assert await outcome(decides, BOB, on("get", "other/2")) == "NO_SUCH_OPERATION"


@pytest.mark.parametrize(
    "narrow",
    [
        {"subjects": ["alice", "carol"]},
        {"issuers": ["https://id"], "tenants": ["data"]},
        {"groups": ["admins", "oncall"]},
        {"scopes": ["read"]},
        {"when": "caller.tenant == 'data'"},
        {"when": "verb == 'get' && caller.tenant == 'data'"},
        {"when": "name.startsWith('jobs/') && 'oncall' in caller.groups"},
    ],
)
async def test_a_rule_matches_the_callers_that_it_names(narrow: dict[str, Any]) -> None:
    """For all others the operation does not exist, or they need scopes."""
    decides = policy({"allow": ["get"], **narrow})
    refusal = "INSUFFICIENT_SCOPE" if "scopes" in narrow else "NO_SUCH_OPERATION"
    for _ in range(2):  # the second answers are kept ones
        assert await outcome(decides, ALICE, on("get")) == "policy[0]"
        assert await outcome(decides, BOB, on("get")) == refusal


async def test_what_may_not_be_read_is_missing_and_what_may_is_denied() -> None:
    """A caller that may only list an operation knows that it exists."""
    decides = policy({"allow": ["list"], "names": ["jobs/1"]}, {"allow": ["cancel"]})
    assert await outcome(decides, BOB, on("get")) == "POLICY_DENIED"
    assert await outcome(decides, BOB, on("get", "jobs/2")) == "NO_SUCH_OPERATION"
    assert await outcome(decides, BOB, on("delete", "jobs/2")) == "NO_SUCH_OPERATION"
    assert await outcome(decides, BOB, on("cancel", "jobs/2")) == "policy[1]"


async def test_a_list_is_allowed_if_it_may_show_an_operation() -> None:
    """Its parent need not match a pattern of names, but a parent of other names shows none."""
    decides = policy(
        {"deny": ["list"], "names": ["jobs/a/secret/**"]},
        {"allow": ["list"], "names": ["jobs/a/**"], "backends": ["east"]},
    )
    for parent in ("", "jobs", "jobs/a", "jobs/a/b", "jobs/-"):
        assert await outcome(decides, BOB, on("list", parent)) == "policy[1]"
    assert await outcome(decides, BOB, on("list", "jobs/b")) == "NO_SUCH_PARENT"
    assert await outcome(decides, BOB, on("list", "", "west")) == "NO_SUCH_PARENT"


async def test_a_missing_scope_is_told_with_all_scopes_of_the_rule() -> None:
    """If the rule would otherwise be the one that allows."""
    decides = policy(
        {"deny": ["get"], "names": ["jobs/secret"]},
        {"allow": ["get"], "scopes": ["read", "admin"]},
        {"allow": ["delete"], "scopes": ["admin"], "subjects": ["carol"]},
    )
    with pytest.raises(StatusError) as caught:
        await decides.authorize(ALICE, on("get"))
    info = caught.value.info
    assert info is not None
    assert (info.reason, info.metadata["scopes"]) == ("INSUFFICIENT_SCOPE", "admin read")
    assert await outcome(decides, ALICE, on("get", "jobs/secret")) == "NO_SUCH_OPERATION"
    assert await outcome(decides, ALICE, on("delete")) == "NO_SUCH_OPERATION"


async def test_a_rule_decides_on_arguments() -> None:
    """However the caller spelt them."""
    decides = policy({"allow": ["start"], "when": "args.parent.startsWith('lines/')"})
    assert await outcome(decides, BOB, start(parent="lines/1")) == "policy[0]"
    assert await outcome(decides, BOB, start(parent="other/1")) == "POLICY_DENIED"


@pytest.mark.parametrize("key", ["allow", "deny"])
async def test_a_condition_without_a_value_denies_and_is_logged(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Later rules do not count, and the log has no argument."""
    decides = policy({key: ["start"], "when": "args.machine.title < 3"}, {"allow": ["*"]})
    action = start(parent="lines/1", machine=factory.message("Machine", title="s3cret"))
    assert await outcome(decides, BOB, action) == "POLICY_DENIED"
    (line,) = caplog.messages
    assert line == (
        "the condition of policy[0] has no value, so the rule denies start:"
        " No matching overloads found"
    )


async def test_a_gateway_that_only_reads_denies_every_change() -> None:
    """Whatever the rules allow. A method reads if the catalog says so."""
    decides = policy({"allow": ["*"]}, read_only=True)
    assert await outcome(decides, BOB, on("get")) == "policy[0]"
    assert await outcome(decides, BOB, on("cancel")) == "READ_ONLY"
    assert await outcome(decides, BOB, start(READS)) == "policy[0]"
    assert await outcome(decides, BOB, start(CHANGES)) == "UNKNOWN_METHOD"


async def test_a_rule_may_allow_reads_only() -> None:
    """A later rule may allow changes to others."""
    decides = policy({"allow": ["*"], "read_only": True}, {"allow": ["*"], "tenants": ["data"]})
    assert await outcome(decides, BOB, on("cancel")) == "POLICY_DENIED"
    assert await outcome(decides, BOB, start(CHANGES)) == "UNKNOWN_METHOD"
    assert await outcome(decides, BOB, start(READS)) == "policy[0]"
    assert await outcome(decides, ALICE, on("cancel")) == "policy[1]"


async def test_explanations_need_a_verb_of_their_own() -> None:
    """They tell of all rules."""
    decides = policy({"allow": ["explain"], "groups": ["oncall"]}, {"allow": ["get", "call"]})
    assert await outcome(decides, ALICE, ExplainAction()) == "policy[0]"
    assert await outcome(decides, BOB, ExplainAction()) == "NO_EXPLANATION"


def test_a_policy_knows_what_a_caller_may_ever_do() -> None:
    """Only these backends and verbs are shown to the caller."""
    decides = policy(
        {"deny": ["cancel"], "backends": ["west"]},
        {"allow": ["get", "cancel"], "tenants": ["data"]},
        {"allow": ["start"], "methods": ["*/Build*"], "backends": ["west"]},
        {"allow": ["delete"], "scopes": ["admin"], "backends": ["east"]},
        {"allow": ["*"], "when": "caller.subject == 'root'"},
    )
    alice, bob = decides.reach(ALICE), decides.reach(BOB)
    assert alice.usable[Verb.GET] == {"east", "west"}
    assert alice.usable[Verb.CANCEL] == {"east"}
    assert alice.usable[Verb.DELETE] == frozenset()
    assert bob.shown == {"west"}
    assert bob.challenged == {"east", "west"}
