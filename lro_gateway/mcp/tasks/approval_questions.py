"""The question inside a task whether to approve its call.

Only a task of a caller that may approve its own calls has this question. The calls of all others
are approved elsewhere, and the task then goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
import orjson

from lro_gateway.errors import JSON, StatusError
from lro_gateway.mcp.tools.elicitation import AGREED, FORM
from lro_gateway.operations.operation import Operation
from lro_gateway.principal import Principal
from lro_gateway.service.approval_handles import entry_of, id_of
from lro_gateway.service.confirmation import displayed
from lro_gateway.service.service import OperationService

_APPROVE: Final = "approve"
_REASON: Final = "answered in the task"


async def questions(
    service: OperationService, caller: Principal, handle: Operation
) -> dict[str, JSON]:
    """Return the question whether to approve a pending call, if the caller may answer it."""
    approvals, id_ = service.approvals, id_of(handle.name)
    if approvals is None or not await approvals.may_decide(caller, id_):
        return {}
    asked = entry_of(handle)
    # A Struct has no order, and a person should see the same text each time.
    request_json = orjson.dumps(asked.get("request", {}), option=orjson.OPT_SORT_KEYS)
    message = (
        f"Approve the call of {asked['method']} on backend {asked['backend']}? It is called with"
        f" {displayed(request_json.decode())}."
    )
    form = types.ElicitRequestFormParams(message=message, requested_schema=FORM)
    request = types.ElicitRequest(params=form)
    return {_APPROVE: request.model_dump(mode="json", by_alias=True, exclude_none=True)}


async def answer(
    service: OperationService, caller: Principal, name: str, answers: Mapping[str, Any]
) -> None:
    """Approve or refuse a call, if there is an answer.

    A question stays open if it was closed, or if its answer has not the form that was asked for.
    """
    approvals, id_, given = service.approvals, id_of(name), answers.get(_APPROVE)
    if approvals is None or not id_ or not isinstance(given, Mapping):
        return
    action, content = given.get("action"), given.get("content")
    agreed = content.get(AGREED) if isinstance(content, Mapping) else None
    approves = {"accept": agreed, "decline": False}.get(action) if isinstance(action, str) else None
    if not isinstance(approves, bool):
        return
    try:
        await approvals.decide(caller, id_, approves=approves, reason=_REASON)
    except StatusError as error:
        # Somebody else has answered before.
        if error.reason != "APPROVAL_DECIDED":
            raise
