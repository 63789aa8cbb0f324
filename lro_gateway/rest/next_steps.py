"""The next step after a failed call, in the words of REST: which route to use, and with what."""

from __future__ import annotations

from typing import Final

from lro_gateway.errors import DOMAIN, StatusError
from lro_gateway.rest.parameters import CONFIRMED_HEADER

_BY_REASON: Final = {
    "AMBIGUOUS_NAME": "say which with the parameter backend, or as //{}/NAME",
    "UNROUTABLE_NAME": "say which with the parameter backend, or as //{}/NAME",
    "INVALID_PAGE_TOKEN": "list again without it",
    "CONFIRMATION_REQUIRED": (
        "use an MCP client that can ask (elicitation), or have the operator of the gateway change"
        f" `confirm`; over REST the header {CONFIRMED_HEADER}: true says that a person has agreed"
    ),
}
"""By the reason of the gateway's own errors; `{}` stands for a backend's name."""

_INSTEAD: Final = {
    "ListOperations": "ask for operations by name with GET /v1/NAME",
    "CancelOperation": "it cannot be cancelled here; follow it with GET /v1/NAME",
    "DeleteOperation": "let it expire; it does no harm",
    "WaitOperation": "poll with GET /v1/NAME",
}
"""By the RPC that a backend does not implement."""


def next_step(error: StatusError) -> str | None:
    """Return what to do next if the gateway made the error, and its reason tells."""
    info = error.info
    if info is None or info.domain != DOMAIN:
        return None
    if info.reason == "RPC_UNIMPLEMENTED":
        return _INSTEAD.get(info.metadata["rpc"].rpartition("/")[2], "use another method")
    step = _BY_REASON.get(info.reason)
    return step.format(info.metadata["backends"].partition(",")[0]) if step else None
