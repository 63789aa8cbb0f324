"""Asking a person before a call is made: within tools/call, or by the session of older clients."""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext

from lro_gateway.mcp.wire import is_modern
from lro_gateway.service.confirmation import ConfirmationRequiredError, declined

_AGREED: Final = "agreed"
_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        _AGREED: {"type": "boolean", "title": "Yes, make this call", "default": False},
    },
    "required": [_AGREED],
}


async def ask(
    context: ServerRequestContext[Any],
    params: types.CallToolRequestParams,
    required: ConfirmationRequiredError,
) -> types.InputRequiredResult | None:
    """Return once the person has agreed, or what to ask within the result of tools/call.

    On 2026-07-28 the client calls again with the answer; before that, the session carries the
    question. Raises `required` if the client cannot ask, PERMISSION_DENIED if the person declined.
    """
    if not _can_ask(context):
        raise required
    if is_modern(context):
        answer = (params.input_responses or {}).get(_AGREED)
        # The state was sealed with the tool and its arguments; what is to be done may differ still.
        if not isinstance(answer, types.ElicitResult) or params.request_state != required.question:
            return _question(required)
    elif context.session.can_send_request:
        answer = await context.session.elicit_form(
            required.question, _FORM, related_request_id=context.request_id
        )
    else:
        raise required
    if answer.action != "accept" or (answer.content or {}).get(_AGREED) is not True:
        raise declined(required)
    return None


def _can_ask(context: ServerRequestContext[Any]) -> bool:
    capabilities = context.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    # Before there were modes, an empty capability meant forms.
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _question(required: ConfirmationRequiredError) -> types.InputRequiredResult:
    form = types.ElicitRequestFormParams(message=required.question, requested_schema=_FORM)
    return types.InputRequiredResult(
        input_requests={_AGREED: types.ElicitRequest(params=form)},
        request_state=required.question,
    )
