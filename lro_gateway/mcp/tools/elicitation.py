"""Asks whether a person agrees to a call, before the gateway makes the call."""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext

from lro_gateway.mcp.wire import is_modern
from lro_gateway.service.confirmation import ConfirmationRequiredError, declined

AGREED: Final = "agreed"
"""The key of the answer, and of its one field."""
FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        AGREED: {"type": "boolean", "title": "Yes, make this call", "default": False},
    },
    "required": [AGREED],
}
"""The schema of the answer."""


async def ask(
    context: ServerRequestContext[Any],
    params: types.CallToolRequestParams,
    required: ConfirmationRequiredError,
) -> types.InputRequiredResult | None:
    """Return None if the person has agreed, or the question if the client must ask it.

    On 2026-07-28 the question is the result of tools/call, and the client calls again with the
    answer. On earlier revisions, the session carries the question and the answer during the call.
    Raises `required` if the client cannot ask, and PERMISSION_DENIED if the person has declined.
    """
    if not _can_ask(context):
        raise required
    if is_modern(context):
        answer = (params.input_responses or {}).get(AGREED)
        # The sealed state guarantees that the tool and the arguments are the same. But the question
        # may have changed since the person answered it. Then the person did not agree to this call.
        if not isinstance(answer, types.ElicitResult) or params.request_state != required.question:
            return _question(required)
    elif context.session.can_send_request:
        answer = await context.session.elicit_form(
            required.question, FORM, related_request_id=context.request_id
        )
    else:
        raise required
    if answer.action != "accept" or (answer.content or {}).get(AGREED) is not True:
        raise declined(required)
    return None


def _can_ask(context: ServerRequestContext[Any]) -> bool:
    capabilities = context.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    # Early revisions have only forms. There, a client declares forms by an empty capability.
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _question(required: ConfirmationRequiredError) -> types.InputRequiredResult:
    form = types.ElicitRequestFormParams(message=required.question, requested_schema=FORM)
    return types.InputRequiredResult(
        input_requests={AGREED: types.ElicitRequest(params=form)},
        request_state=required.question,
    )
