"""Three tools that find, describe and call methods. They stand for methods that are not listed.

`search_methods` and `describe_method` are tools like others. `call_method` has no code that calls
a method: the server answers the call that its arguments hold in the same way as if the client had
sent that call itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types
import orjson

from lro_gateway.descriptors.scalars import shown
from lro_gateway.errors import (
    JSON,
    Code,
    StatusError,
    invalid_argument,
    quote,
    quoted_text,
    status_error,
)
from lro_gateway.mcp.answers import Answer
from lro_gateway.mcp.tools.arguments import no_object
from lro_gateway.mcp.tools.backend_argument import backend_schema
from lro_gateway.mcp.tools.method_search import Found, MethodSearch
from lro_gateway.mcp.tools.method_tools import MethodTool
from lro_gateway.mcp.tools.verb_tools import Invocation, task_execution
from lro_gateway.principal import Principal
from lro_gateway.service.catalog import Offer
from lro_gateway.service.service import OperationService
from lro_gateway.service.verb_requests import unknown_argument

SEARCH_METHODS: Final = "search_methods"
DESCRIBE_METHOD: Final = "describe_method"
CALL_METHOD: Final = "call_method"

_PAGE: Final = 20
"""The maximum number of methods in an answer of search_methods."""
_LONGEST_SHOWN: Final = 120
"""The longest comment or argument in a sentence, in characters."""
_LONGEST_TOKEN: Final = 9
_LONGEST_TOOL: Final = 64 * 1024
"""The size in bytes beyond which describe_method leaves out the schema of the answer."""

FindTool = Callable[[Principal, str], Awaitable[object]]
"""Returns the tool with a name, or None if the caller may see no such tool."""


@dataclass(frozen=True, slots=True)
class CatalogTool:
    """One of the three tools. `call` raises `StatusError` if the call fails."""

    name: str
    call: Callable[[OperationService, Invocation], Awaitable[Answer]]
    starts_tasks: bool = False


class CatalogTools:
    """The three tools for the methods of one service. `find_tool` finds the tool of a method."""

    def __init__(self, service: OperationService, find_tool: FindTool) -> None:
        self._service = service
        self._find_tool = find_tool
        self._search = MethodSearch(service.catalog.slices)
        self.tools: Final = (
            CatalogTool(SEARCH_METHODS, self._search_methods),
            CatalogTool(DESCRIBE_METHOD, self._describe_method),
        )
        """The tools that can be called. The server answers calls of `call_method`."""

    def listed(self, backends: tuple[str, ...]) -> list[types.Tool]:
        """Return the three tools as `tools/list` returns them. `backends` are all backends."""
        described = self._service.router.descriptions
        return [_search_tool(backends, described), _DESCRIBE_TOOL, _CALL_TOOL]

    async def _search_methods(self, service: OperationService, call: Invocation) -> Answer:
        given = _known(call.arguments, "query", "backend", "pageToken")
        query, backend = _text(given, "query"), _text(given, "backend")
        start = _start(_text(given, "pageToken"))
        if backend and backend not in service.backend_names(call.caller):
            raise service.views.router(call.caller).unknown("backend", backend)
        visible = await service.offers(call.caller)
        if backend:
            visible = {name: each for name, each in visible.items() if backend in each.backends}
        catalog = await service.catalog.offers(of=())
        found = await self._search.find(query, catalog, visible)
        page = found.names[start : start + _PAGE]
        structured: JSON = {
            "methods": [{"name": name, "description": _line(visible[name])} for name in page],
            "totalSize": len(found.names),
        }
        end = start + len(page)
        if end < len(found.names):
            structured["nextPageToken"] = str(end)
        unreached = service.unreached(call.caller, [backend] if backend else None)
        return Answer(structured, _search_text(found, start, end, unreached))

    async def _describe_method(self, service: OperationService, call: Invocation) -> Answer:
        name = _needed(_known(call.arguments, "name"), "name")
        found = await self._find_tool(call.caller, name)
        if not isinstance(found, MethodTool):
            raise await self._unknown(call.caller, name)
        await service.catalog.slices.run(found.offer.types.reading_comments())
        return _described(found.tool)

    async def inner_call(
        self, caller: Principal, params: types.CallToolRequestParams
    ) -> types.CallToolRequestParams:
        """Return the call that the arguments of `call_method` hold.

        Everything else of the request stays as it is, such as the answers to a question and
        `_meta`. Raises an error if an argument of `call_method` is wrong, or if the caller may see
        no tool of the name.
        """
        given = _known(params.arguments or {}, "name", "arguments")
        name, arguments = _needed(given, "name"), given.get("arguments")
        if arguments is not None and not isinstance(arguments, dict):
            raise no_object(arguments)
        if await self._find_tool(caller, name) is None:
            raise await self._unknown(caller, name)
        return params.model_copy(update={"name": name, "arguments": arguments})

    async def _unknown(self, caller: Principal, name: str) -> StatusError:
        """Return the error for a name that no method has, with names that are spelt like it.

        Returns UNAVAILABLE if the methods of some backend are not known.
        """
        if (unreached := self._service.unreached(caller)) is not None:
            return unreached
        visible = await self._service.offers(caller, of=())
        near = await self._search.nearest(name, visible)
        suggestion = f"; did you mean {' or '.join(near)}?" if near else ""
        return status_error(
            Code.NOT_FOUND,
            f"there is no method {quote(name)}{suggestion}",
            "UNKNOWN_METHOD",
            metadata={"method": name, "methods": ", ".join(near)},
        )


def _known(arguments: Mapping[str, Any], *known: str) -> Mapping[str, Any]:
    """Return the arguments of a tool. Raise INVALID_ARGUMENT if one of them is not known."""
    for each in arguments:
        if each not in known:
            raise unknown_argument(each, known)
    return arguments


def _text(arguments: Mapping[str, Any], key: str) -> str:
    value = arguments.get(key)
    if value is None:  # ProtoJSON reads null as the field's default.
        return ""
    if not isinstance(value, str):
        raise invalid_argument(key, f"a string is needed, not {shown(value)}")
    return value


def _needed(arguments: Mapping[str, Any], key: str) -> str:
    if not (value := _text(arguments, key)):
        raise invalid_argument(key, "the name of a method is needed, as search_methods returns it")
    return value


def _start(token: str) -> int:
    """Return the number of methods on the pages before the page of a token."""
    if not token:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) <= _LONGEST_TOKEN):
        problem = f"a nextPageToken of {SEARCH_METHODS} is needed, not {quote(token, 40)}"
        raise invalid_argument("pageToken", problem)
    return int(token)


def _line(offer: Offer) -> str:
    """Return the service of a method, and the first sentence of the method's comment."""
    comment = offer.types.comments.of_name(offer.method.full_name).partition(". ")[0]
    says = quoted_text(comment, _LONGEST_SHOWN)
    return offer.method.service if says == '""' else f"{offer.method.service}: {says}"


def _search_text(found: Found, start: int, end: int, unreached: StatusError | None) -> str:
    """Return how many methods a search has found, and the next step."""
    total = len(found.names)
    sentences = []
    if not found.has_all_words and total:
        sentences.append("No method has all these words, but some have some of them.")
    if start < end:
        sentences += [
            f"Methods {start + 1} to {end} of {total}, the best first.",
            f"Pass a name to {DESCRIBE_METHOD} for the arguments, then to {CALL_METHOD}.",
        ]
    else:
        sentences.append("No method is found. Search with other words, or without query for all.")
    if end < total:
        sentences.append("For more, call again with pageToken set to nextPageToken, or add words.")
    if unreached is not None:
        sentences.append(f"Methods may be missing: {unreached.message}.")
    return " ".join(sentences)


def _described(tool: types.Tool) -> Answer:
    structured: JSON = tool.model_dump(
        by_alias=True, exclude_none=True, mode="json", exclude={"execution"}
    )
    text = f"Pass this name and its arguments to {CALL_METHOD}."
    if len(orjson.dumps(structured)) > _LONGEST_TOOL:
        structured.pop("outputSchema", None)
        text += " The schema of its answer is left out, because it is very long."
    return Answer(structured, text)


def _annotations(title: str, *, reads: bool) -> types.ToolAnnotations:
    """Return the hints of a tool. One that may call any method may have any effect."""
    return types.ToolAnnotations(
        title=title,
        read_only_hint=reads,
        destructive_hint=not reads,
        idempotent_hint=reads,
        open_world_hint=False,
    )


_FOUND: Final = {
    "type": "object",
    "properties": {
        "methods": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "description": {
                        "type": "string",
                        "description": "The service, and the beginning of its comment.",
                    },
                },
                "required": ["name", "description"],
            },
        },
        "totalSize": {"type": "integer"},
        "nextPageToken": {"type": "string"},
    },
    "required": ["methods", "totalSize"],
}


def _search_tool(backends: tuple[str, ...], descriptions: Mapping[str, str]) -> types.Tool:
    return types.Tool(
        name=SEARCH_METHODS,
        title="Search methods",
        description=(
            "Find methods of the services behind this gateway, which are too many to list as tools."
            " Pass words of their names, services or comments, such as create database. Returns up"
            " to 20 names, the best first. Then call describe_method and call_method."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "query": {
                    "type": "string",
                    "description": "The words to find. Without words, all methods are listed.",
                },
                "backend": backend_schema(
                    backends, "Only methods of this backend are found.", descriptions
                ),
                "pageToken": {
                    "type": "string",
                    "description": "The nextPageToken of the page before.",
                },
            },
        },
        output_schema=_FOUND,
        annotations=_annotations("Search methods", reads=True),
    )


_METHOD_NAME: Final = {
    "type": "string",
    "description": "A method's name exactly as search_methods returned it.",
}

_DESCRIBE_TOOL: Final = types.Tool(
    name=DESCRIBE_METHOD,
    title="Describe method",
    description=(
        "Describe a method before its first call. Pass its name, as search_methods returned it."
        " Returns its description, the schema of its arguments (inputSchema), the schema of its"
        " answer (outputSchema), and hints of its effects (annotations)."
    ),
    input_schema={
        "type": "object",
        "properties": {"name": _METHOD_NAME},
        "required": ["name"],
    },
    output_schema={
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "description": {"type": "string"},
            "inputSchema": {"type": "object"},
            "outputSchema": {"type": "object"},
            "annotations": {"type": "object"},
        },
        "required": ["name", "inputSchema"],
    },
    annotations=_annotations("Describe method", reads=True),
)

_CALL_TOOL: Final = types.Tool(
    name=CALL_METHOD,
    title="Call method",
    description=(
        "Call a method. Pass its name, as search_methods returned it, and its arguments as an"
        " object that is valid by the inputSchema of describe_method. Returns what the method"
        " returns. If that is an Operation with done=false, the work goes on: call wait_operation."
    ),
    input_schema={
        "type": "object",
        "properties": {
            "name": _METHOD_NAME,
            "arguments": {"type": "object", "description": "The arguments of the method."},
        },
        "required": ["name"],
    },
    annotations=_annotations("Call method", reads=False),
    execution=task_execution(starts_tasks=True),
)
