"""The route `/v1:explain`, which tells which rule of the policy decides on a call, and why."""

from __future__ import annotations

from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from lro_gateway.access.policy import Verb
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.json_route import JsonRoute
from lro_gateway.service.explaining import Answer, Question, explain, supposed
from lro_gateway.service.service import OperationService

EXPLAIN_PATH: Final = "/v1:explain"


class ExplainRequest(BaseModel):
    """A call that somebody might make.

    `target` is the name of an operation, the parent of a list, or a method. `args` is the request
    of a method.
    """

    model_config = ConfigDict(extra="forbid")

    subject: str = ""
    issuer: str = ""
    tenant: str = ""
    groups: list[str] = Field(default_factory=list)
    scopes: list[str] = Field(default_factory=list)
    client: str = ""
    verb: Literal["get", "list", "wait", "cancel", "delete", "start", "call", "approve", "explain"]
    target: str = ""
    backend: str = ""
    args: dict[str, Any] = Field(default_factory=dict)


class ExplainedRule(BaseModel):
    """A rule that was looked at, and what it says of the call."""

    rule: str
    because: str


class ExplainedDecision(BaseModel):
    """The decision on one backend. `rule` is empty if no rule decides, so that the answer is no.

    `needs` has `confirmation` if a person must agree to the allowed call, and `approval` if the
    call waits until somebody approves it.
    """

    backend: str
    name: str
    allowed: bool
    rule: str
    rules: list[ExplainedRule]
    scopes: list[str] = Field(default_factory=list)
    needs: list[Literal["confirmation", "approval"]] = Field(default_factory=list)


class ExplainResponse(BaseModel):
    """The decision for each backend that the call may mean."""

    decisions: list[ExplainedDecision]


def explain_router(service: OperationService) -> APIRouter:
    """Return the route, which needs the verb `explain`."""
    router = APIRouter(tags=["policy"], route_class=JsonRoute)

    @router.post(
        EXPLAIN_PATH,
        operation_id="Explain",
        summary="Tell which rule of the policy decides on a call, and why",
    )
    async def explained(request: Request, body: ExplainRequest) -> ExplainResponse:
        who = supposed(
            body.subject,
            body.issuer,
            body.tenant,
            body.client,
            groups=body.groups,
            scopes=body.scopes,
        )
        question = Question(who, Verb(body.verb), body.target, body.backend, body.args)
        answers = await explain(service, caller_of(request), question)
        return ExplainResponse(decisions=[decision(each) for each in answers])

    return router


def decision(answer: Answer) -> ExplainedDecision:
    """Return a decision as JSON."""
    found = answer.explanation
    return ExplainedDecision(
        backend=answer.backend,
        name=answer.name,
        allowed=found.allowed,
        rule=found.rule,
        rules=[ExplainedRule(rule=each.rule, because=each.because) for each in found.steps],
        scopes=sorted(found.scopes),
        needs=list(answer.needs),
    )
