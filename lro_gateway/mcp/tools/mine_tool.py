"""The tool that lists what a caller has started. It exists if the gateway has a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import mcp_types as types

from lro_gateway.descriptors.schema import Schema
from lro_gateway.errors import JSON
from lro_gateway.mcp.answers import Answer
from lro_gateway.mcp.tools.verb_tools import Invocation
from lro_gateway.records.entries import Entry, EntryState
from lro_gateway.service.mine import MinePage, entry_json
from lro_gateway.service.mine_request import parse_mine
from lro_gateway.service.service import OperationService

_TEXT: Final[Schema] = {"type": "string"}
_INPUT: Final[Schema] = {"type": "object", "properties": {}}
"""No argument is needed. The tool takes those of `parse_mine`, and the text of a page names them.

Most gateways have this tool, so what its schema says costs every model that sees the list.
"""
_OUTPUT: Final[Schema] = {
    "type": "object",
    "properties": {
        "operations": {"type": "array", "items": {"type": "object"}},
        "nextPageToken": _TEXT,
    },
}
_MORE: Final = "pass nextPageToken as pageToken, or select by state, method, text, since or until"


@dataclass(frozen=True, slots=True)
class MineTool:
    """The tool `list_my_operations`. `call` raises `StatusError` if the call fails."""

    name: str
    call: Callable[[OperationService, Invocation], Awaitable[Answer]]
    starts_tasks: bool = False

    def to_tool(self) -> types.Tool:
        """Return the tool as `tools/list` returns it."""
        title = "List my operations"
        return types.Tool(
            name=self.name,
            title=title,
            description="List what you started, in any session.",
            input_schema=_INPUT,
            output_schema=_OUTPUT,
            annotations=types.ToolAnnotations(
                title=title, read_only_hint=True, destructive_hint=False, open_world_hint=False
            ),
        )


async def _list_mine(service: OperationService, call: Invocation) -> Answer:
    page = await service.mine.page(call.caller, parse_mine(call.arguments))
    structured: JSON = {"operations": [entry_json(each) for each in page.entries]}
    if page.next_page_token:
        structured["nextPageToken"] = page.next_page_token
    return Answer(structured, _text(page))


def _text(page: MinePage) -> str:
    """Describe a page for a model: how many of each state, and what to do."""
    more = f" There are more: {_MORE}." if page.next_page_token else ""
    if not page.entries:
        return f"No operation of this page matches.{more}" if more else "No operation matches."
    states = [each.state for each in page.entries]
    counts = [f"{states.count(s)} {s.value}" for s in EntryState if s in states]
    return f"{', '.join(counts)}.{_advice(page.entries)}{more}"


def _advice(entries: Sequence[Entry]) -> str:
    advice = ""
    if any(each.state is EntryState.RUNNING for each in entries):
        advice += " Pass a name and its backend to wait_operation to follow it. `age` is how old"
        advice += " the knowledge of a running one is."
    if any(each.state is EntryState.UNKNOWN for each in entries):
        advice += " The error of an unknown one says why: call list_operations before you start it"
        advice += " again."
    return advice


LIST_MY_OPERATIONS: Final = MineTool("list_my_operations", _list_mine)
