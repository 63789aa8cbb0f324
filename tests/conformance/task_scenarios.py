"""The scenarios of the tasks extension, and what of each `serve` cannot pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NEVER_ASKS = "The task of an operation never asks for input. Only an extension has such tasks."
TASKS: Final[Mapping[str, Mapping[str, str]]] = {
    "tasks-lifecycle": {
        "TasksProtocolErrorFailedShape": (
            "The task of an operation never ends in a JSON-RPC error: a failed operation is a"
            " result with isError."
        )
    },
    "tasks-capability-negotiation": {},
    "tasks-wire-fields": {},
    "tasks-request-state-removal": {},
    "tasks-mrtr-input": {
        "TasksMRTRInputRequestsOnTasksGet": _NEVER_ASKS,
        "TasksMRTRTasksUpdateResumes": _NEVER_ASKS,
        "TasksMRTRPartialFulfillment": _NEVER_ASKS,
    },
    "tasks-request-headers": {
        "TasksHeadersTolerateMcpMethodOnToolsCall": (
            "The call succeeds, but the suite expects a bare text. The text of an RPC is JSON."
        )
    },
    "tasks-dispatch-and-envelope": {},
    "tasks-required-task-error": {
        "Sep2663ServerReturnsMissingCapabilityWhenRequired": (
            "No tool of an RPC requires tasks: a client without tasks gets the operation."
        )
    },
    "tasks-mrtr-composition": {
        "Sep2663MrtrSynchronousBeforeTaskCreation": (
            "The gateway asks only whether a person agrees. The suite answers with a name, which"
            " does not agree, so the gateway does not start the operation."
        )
    },
}
"""The checks of each scenario that `serve` cannot pass, with the reasons."""
