"""`POST /v1:explain` tells which rule decides, to those whom a rule allows to ask."""

from __future__ import annotations

from typing import Any

from tests import factory
from tests.access.policed import policed, rest
from tests.access.test_policy_faces import BOB, HANDLERS, METHODS, POOL, ROOT
from tests.contrary import ContraryBackend
from tests.rest.exchanges import error_of

RULES: list[dict[str, Any]] = [
    {"allow": ["explain"], "tenants": ["ops"]},
    {"allow": ["get", "list"], "groups": ["oncall"], "names": ["jobs/**"], "name": "on call"},
    {"allow": ["start"], "methods": ["*/Build*"], "when": "args.parent == 'lines/1'"},
]


async def test_the_deciding_rule_and_the_earlier_ones_are_told() -> None:
    """For operations, for lists, and for methods with their arguments."""
    async with (
        ContraryBackend.open(
            HANDLERS, methods=METHODS, pool=POOL, reflection_versions=("v1",)
        ) as backend,
        policed(
            RULES, {"name": "east", "target": backend.target, "confirm": ["*/BuildMachine"]}
        ) as url,
        rest(url, ROOT) as client,
    ):

        async def ask(**question: Any) -> dict[str, Any]:
            answer = await client.post("/v1:explain", json=question)
            assert answer.status_code == 200, answer.text
            (decision,) = answer.json()["decisions"]
            result: dict[str, Any] = decision
            return result

        assert await ask(verb="get", target="jobs/1", groups=["oncall"], subject="bob") == {
            "backend": "east",
            "name": "jobs/1",
            "allowed": True,
            "rule": "policy[1] (on call)",
            "rules": [
                {"rule": "policy[0]", "because": "the tenant is not ops"},
                {"rule": "policy[1] (on call)", "because": "it matches, and allows"},
            ],
            "scopes": [],
            "needs": [],
        }
        assert (await ask(verb="list", target="other", groups=["oncall"]))["allowed"] is False
        path = f"{factory.SERVICE}/BuildMachine"
        allowed = await ask(verb="start", target=path, args={"parent": "lines/1"})
        assert (allowed["allowed"], allowed["name"]) == (True, path)
        assert allowed["needs"] == ["confirmation"]
        for short in ("BuildMachine", "Factory.BuildMachine", "factory.v1.Factory.BuildMachine"):
            assert (await ask(verb="start", target=short))["name"] == path
        refused = await ask(verb="start", target="build_machine", args={"parent": "lines/2"})
        assert refused["rules"][-1]["because"] == "its condition is false"
        assert (await ask(verb="explain", tenant="ops"))["rule"] == "policy[0]"
        for wrong in ({"verb": "call", "target": path}, {"verb": "start", "target": "x/Y"}):
            assert (await client.post("/v1:explain", json=wrong)).status_code in {400, 404}
        question = {"verb": "explain", "tenant": "ops"}
        told = await client.post("/v1:explain?fields=decisions.rule&prettyPrint=0", json=question)
        assert told.text == '{"decisions":[{"rule":"policy[0]"}]}'
        mistyped = await client.post("/v1:explain?tenant=ops", json=question)
        assert error_of(mistyped)["details"][0]["reason"] == "UNKNOWN_FIELD"
        assert "/v1:explain" in (await client.get("/openapi.json")).json()["paths"]
        assert backend.count("BuildMachine") == 0


async def test_a_caller_without_the_verb_gets_no_explanation() -> None:
    """An explanation tells of rules that are about others."""
    async with (
        ContraryBackend.open(HANDLERS) as backend,
        policed(RULES, {"name": "east", "target": backend.target, "descriptors": []}) as url,
        rest(url, BOB) as client,
    ):
        answer = await client.post("/v1:explain", json={"verb": "get", "target": "jobs/1"})
        assert answer.status_code == 404
        assert answer.json()["error"]["details"][0]["reason"] == "NO_EXPLANATION"
        assert "/v1:explain" not in (await client.get("/openapi.json")).json()["paths"]
