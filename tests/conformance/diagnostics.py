"""The diagnostic tools of the conformance suite that no RPC of a backend can provide.

They return a sound, report progress, and ask questions other than whether a person agrees.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError

from lro_gateway.mcp.answers import Reply
from lro_gateway.mcp.extension_point import ExtraTool, ToolCall
from tests.conformance.fixtures import extra_tool, question, text

_BYTES: Final = base64.b64encode(b"stands for a sound").decode()
_SOUND: Final = {"content": [{"type": "audio", "data": _BYTES, "mimeType": "audio/wav"}]}

_NAME: Final = question("What is your name?", "name")
_SAMPLING: Final = {
    "method": "sampling/createMessage",
    "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "Greet me."}}],
        "maxTokens": 100,
    },
}
_ROOTS: Final = {"method": "roots/list", "params": {}}
_QUESTIONS: Final[Mapping[str, tuple[dict[str, Any], ...]]] = {
    "elicitation": ({"user_name": _NAME},),
    "sampling": ({"capital_question": _SAMPLING},),
    "list_roots": ({"client_roots": _ROOTS},),
    "multiple_inputs": ({"user_name": _NAME, "greeting": _SAMPLING, "client_roots": _ROOTS},),
    "multi_round": ({"step1": _NAME}, {"step2": question("Which color?", "color")}),
    "capabilities": ({"user_name": _NAME, "greeting": _SAMPLING},),
}
"""The questions of each tool, by round."""

_ANSWERS: Final[Mapping[str, Any]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult | types.CreateMessageResultWithTools,
    "roots/list": types.ListRootsResult,
}


@dataclass(frozen=True)
class Questions:
    """A tool that asks questions in rounds. Its state is the number of the current round."""

    rounds: tuple[dict[str, Any], ...]

    async def call(self, call: ToolCall) -> Reply:
        index = int(call.params.request_state or 0)
        answers = call.params.input_responses or {}
        answered = all(
            isinstance(answers.get(key), _ANSWERS[request["method"]])
            for key, request in self.rounds[index].items()
        )
        if answered and index + 1 == len(self.rounds):
            shown = [answer.model_dump_json() for answer in answers.values()]
            return text(" ".join(["state-ok", *shown]))
        index += answered
        requests = {
            key: request
            for key, request in self.rounds[index].items()
            if _client_supports(call, request["method"])
        }
        return types.InputRequiredResult.model_validate(
            {"inputRequests": requests, "requestState": str(index)}
        )


def _client_supports(call: ToolCall, method: str) -> bool:
    capabilities = call.context.session.client_capabilities
    needed = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling"}
    return method not in needed or getattr(capabilities, needed[method], None) is not None


async def _progress(call: ToolCall) -> Reply:
    for progress in (0, 50, 100):
        await call.context.session.report_progress(progress, 100)
    return text("done")


async def _needs_sampling(call: ToolCall) -> Reply:
    if not _client_supports(call, "sampling/createMessage"):
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "the client must declare sampling",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return text("the client declares sampling")


async def _sound(_call: ToolCall) -> Reply:
    return types.CallToolResult.model_validate(_SOUND)


def diagnostics() -> list[ExtraTool]:
    """Return the diagnostic tools."""
    return [
        *(
            extra_tool(f"test_input_required_result_{name}", Questions(rounds).call)
            for name, rounds in _QUESTIONS.items()
        ),
        extra_tool("test_audio_content", _sound),
        extra_tool("test_tool_with_progress", _progress),
        extra_tool("test_missing_capability", _needs_sampling),
    ]
