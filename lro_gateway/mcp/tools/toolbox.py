"""All tools: those of google.longrunning.Operations, and one for each method of the backends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

import mcp_types as types
import orjson
from cachetools import LRUCache
from mcp.shared.exceptions import MCPError

from lro_gateway.errors import Code, StatusError, quote, status_error
from lro_gateway.mcp.answers import Answer
from lro_gateway.mcp.tools.method_tools import MethodTool
from lro_gateway.mcp.tools.verb_tools import TOOLS, Invocation
from lro_gateway.principal import Principal
from lro_gateway.service.catalog import Offer
from lro_gateway.service.service import OperationService
from lro_gateway.service.tool_names import all_names

logger: Final = logging.getLogger(__name__)

_INTERVAL: Final = 2.0
"""The number of seconds between two checks whether the methods have changed.

A check calls only backends whose services are unknown, for example because a backend was down.
"""
_PAGE_BYTES: Final = 512 * 1024
"""The approximate maximum size of a page of tools, in bytes.

The SDK's client refuses server-sent events of more than 1 MiB.
"""
_MAX_LISTS: Final = 64
"""The maximum number of cached lists of tools.

Callers that may see the same tools share a list.
"""

_Listed = tuple[tuple[str, ...], tuple[str, ...]]
"""The names of the backends and of the methods in a list of tools."""

ToolChanges = Callable[[Principal], AsyncIterator[None]]
"""Yields each time the tools that a caller may see have changed."""


class Tool(Protocol):
    """A tool, which a client calls by its name. `call` raises `StatusError` if the call fails."""

    @property
    def name(self) -> str:
        """The tool's name."""

    @property
    def starts_tasks(self) -> bool:
        """Whether the operation in the answer becomes a task for a client that supports tasks."""

    @property
    def call(self) -> Callable[[OperationService, Invocation], Awaitable[Answer]]:
        """The function that calls the tool."""


class Toolbox:
    """The tools of one service.

    The gateway makes the schemas of a method when a client first lists the tools, and then keeps
    them. The tools of google.longrunning.Operations need no descriptors of a backend, so they exist
    even if every backend is down.
    """

    def __init__(self, service: OperationService) -> None:
        self._service = service
        self._verbs = {tool.name: tool for tool in TOOLS}
        self._offers: Mapping[str, Offer] = {}
        self._methods: Mapping[str, MethodTool] = {}
        self._by_any_name: dict[str, list[str]] | None = None
        self._pages: LRUCache[_Listed, list[list[types.Tool]]] = LRUCache(_MAX_LISTS)
        self._paging = asyncio.Lock()

    async def find(self, caller: Principal, name: str) -> Tool | None:
        """Return the tool with a name, or None if the caller may see no such tool.

        If the name is unknown, the search waits for backends whose services are not known yet. If
        no tool has the name, the one tool is found that could have it if there were no other
        methods, or fewer. Raises INVALID_ARGUMENT if several tools could have the name.
        """
        verb = self._verbs.get(name)
        if verb is not None:
            return verb
        methods = await self._current()
        if name not in methods:
            methods = await self._current(wait_for_all=True)
        visible = await self._service.offers(caller)
        if name in methods:
            return methods[name] if name in visible else None
        named = [each for each in self._names().get(name, ()) if each in visible]
        if len(named) > 1:
            raise _ambiguous(name, named)
        return methods.get(named[0]) if named else None

    async def page(
        self, caller: Principal, cursor: str | None
    ) -> tuple[list[types.Tool], str | None]:
        """Return a page of the tools that a caller may see, and the cursor of the next page.

        The tools of google.longrunning.Operations come first, then those of methods, by name.
        Raises `MCPError` (-32602) if no page starts at the cursor, for example because the
        tools have changed.
        """
        pages = await self._all_pages(caller)
        starts = [None, *(page[-1].name for page in pages[:-1])]
        if cursor not in starts:
            message = "the tools have changed; call tools/list again without cursor"
            raise MCPError(types.INVALID_PARAMS, message)
        index = starts.index(cursor)
        page = pages[index]
        return page, page[-1].name if index + 1 < len(pages) else None

    async def changes(self, caller: Principal) -> AsyncIterator[None]:
        """Yield each time the tools that a caller may see have changed. The iterator never ends."""
        known = await self._service.offers(caller)
        while True:
            await asyncio.sleep(_INTERVAL)
            latest = await self._service.offers(caller)
            if latest is not known and latest != known:
                yield
            known = latest

    async def _current(self, *, wait_for_all: bool = False) -> Mapping[str, MethodTool]:
        """Return the tools of all methods that the backends offer."""
        offers = await self._service.catalog.offers(wait_for_all=wait_for_all)
        if offers is not self._offers:
            self._offers = offers
            self._methods = {name: MethodTool(offer) for name, offer in offers.items()}
            self._by_any_name = None
            self._pages.clear()
        return self._methods

    def _names(self) -> Mapping[str, list[str]]:
        """Return the names of the tools that could have a name, by that name."""
        if self._by_any_name is None:
            self._by_any_name = {}
            for offer in self._offers.values():
                for name in all_names(offer.method):
                    self._by_any_name.setdefault(name, []).append(offer.name)
        return self._by_any_name

    async def _all_pages(self, caller: Principal) -> list[list[types.Tool]]:
        """Return the pages of tools for a caller.

        All callers that may see the same tools share these pages.
        """
        methods = await self._current()
        offers = await self._service.offers(caller)
        listed = (self._service.backend_names(caller), tuple(offers))
        async with self._paging:
            pages = self._pages.get(listed)
            if pages is None:
                visible = [methods[name] for name in offers if name in methods]
                default_wait = self._service.waits.default
                verbs = [tool.to_tool(listed[0], default_wait) for tool in TOOLS]
                pages = self._pages[listed] = _pages([*verbs, *await _listed(visible)])
            return pages


def _ambiguous(name: str, choices: Iterable[str]) -> StatusError:
    tools = ", ".join(choices)
    problem = f"several tools could be called {quote(name)}; call one of: {tools}"
    return status_error(
        Code.INVALID_ARGUMENT, problem, "AMBIGUOUS_TOOL", metadata={"tool": name, "tools": tools}
    )


async def _listed(methods: Iterable[MethodTool]) -> list[types.Tool]:
    """Make the tools of methods; log a tool that cannot be made, and omit it."""
    listed = []
    for method in methods:
        try:
            listed.append(method.tool)
        except Exception:
            logger.exception(
                "tools/list omits the tool %s, because its schemas cannot be made", method.name
            )
        # Let other requests run, because a backend may have a thousand methods.
        await asyncio.sleep(0)
    return listed


def _pages(tools: Iterable[types.Tool]) -> list[list[types.Tool]]:
    """Divide tools into pages of about `_PAGE_BYTES`; a larger tool has a page of its own."""
    pages: list[list[types.Tool]] = [[]]
    room = _PAGE_BYTES
    for tool in tools:
        size = len(orjson.dumps([tool.description, tool.input_schema, tool.output_schema]))
        if size > room and pages[-1]:
            pages.append([])
            room = _PAGE_BYTES
        pages[-1].append(tool)
        room -= size
    return pages
