"""The routes of calls that wait for an approval: `/v1/approvals` and what is below it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from lro_gateway.errors import JSON, invalid_argument
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.errors import not_allowed
from lro_gateway.rest.operation_paths import OPERATION_VERBS, OperationPath
from lro_gateway.rest.operation_routes import OperationRoutes
from lro_gateway.rest.parameters import json_body, own_parameters
from lro_gateway.rest.responses import json_response, operation_response
from lro_gateway.service.approval_handles import entry_of
from lro_gateway.service.approval_requests import ARGUMENTS, parse_page
from lro_gateway.service.approvals import Approvals

_PATH: Final = re.compile(rb"/v1/approvals(?:/([0-9a-f]{32})(?::([a-z]+))?)?\Z")
_READING: Final = ("GET", "HEAD")
_DECISIONS: Final = {"approve": True, "refuse": False}
_LAST: Final = 1
"""The index of the last segment of the name of a handle."""


class ApprovalRoutes:
    """Answers the requests about calls that wait for an approval."""

    def __init__(self, approvals: Approvals, operations: OperationRoutes) -> None:
        self._approvals = approvals
        self._operations = operations

    async def answer(self, request: Request) -> Response | None:
        """Answer a request, or return None if its path is not one of these."""
        found = _PATH.match(request.scope["raw_path"].partition(b"?")[0])
        if found is None:
            return None
        id_, verb = ((each or b"").decode() for each in found.groups())
        if not id_:
            return await self._list(request)
        if verb in _DECISIONS:
            return await self._decide(request, id_, approves=_DECISIONS[verb])
        if verb not in OPERATION_VERBS:
            return None
        if request.method not in OPERATION_VERBS[verb]:
            raise not_allowed(OPERATION_VERBS[verb])
        return await self._operations.answer(request, OperationPath(verb, None, _LAST))

    async def _list(self, request: Request) -> Response:
        """Answer GET of `/v1/approvals` with those that the caller asked for or may approve."""
        if request.method not in _READING:
            raise not_allowed(_READING)
        query, presentation = own_parameters(request, ARGUMENTS)
        page = await self._approvals.list(caller_of(request), parse_page(query))
        answer: JSON = {
            "approvals": [
                {**entry_of(each), "canDecide": each.name in page.decidable}
                for each in page.handles
            ]
        }
        if page.following:
            answer["nextPageToken"] = page.following
        return json_response(answer, presentation)

    async def _decide(self, request: Request, id_: str, *, approves: bool) -> Response:
        """Answer POST of `...:approve` and `...:refuse` with the handle."""
        if request.method != "POST":
            raise not_allowed(("POST",))
        _, presentation = own_parameters(request, ())
        reason = _reason(await json_body(request))
        caller = caller_of(request)
        handle = await self._approvals.decide(caller, id_, approves=approves, reason=reason)
        return await operation_response(handle, presentation)


def _reason(body: Mapping[str, Any]) -> str:
    for key in body:
        if key != "reason":
            raise invalid_argument(key, "there is no such field; the only one is reason")
    reason = body.get("reason", "")
    if not isinstance(reason, str):
        raise invalid_argument("reason", "a text is needed")
    return reason
