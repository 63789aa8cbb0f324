"""All tools: those of google.longrunning.Operations, and those of the backends' methods."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Final, Protocol

import mcp_types as types
import orjson
from cachetools import LRUCache
from mcp.shared.exceptions import MCPError

from lro_gateway.access.policy import Verb
from lro_gateway.background import Steps
from lro_gateway.errors import Code, StatusError, quote, status_error
from lro_gateway.mcp.answers import Answer
from lro_gateway.mcp.tools.catalog_tools import CatalogTools
from lro_gateway.mcp.tools.method_tools import MethodTool
from lro_gateway.mcp.tools.mine_tool import LIST_MY_OPERATIONS
from lro_gateway.mcp.tools.tool_budget import exceeds
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
_MAX_PAGES: Final = 64
"""The maximum number of cached pages of tools.

Callers that may see the same tools share their pages.
"""

_ToolPage = tuple[list[types.Tool], str | None]
_Backends = tuple[tuple[Verb, tuple[str, ...]], ...]
"""The backends on which the caller may use each verb of operations that it may use at all."""
_Listed = tuple[_Backends, tuple[str, ...], tuple[tuple[str, ...], ...]]
"""The backends of each verb, the names of methods, and the backends of each method.

The last are left out if the caller may call every method on every backend.
"""

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

    The gateway makes the schemas of a method when a client lists the page of its tool, and then
    keeps the page. The tools of google.longrunning.Operations need no descriptors of a backend, so
    they exist even if every backend is down.

    If the tools of the methods that a caller may see take more tokens than `budget`, the tools of
    `CatalogTools` are listed instead of them. All tools can be called, whether they are listed or
    not. A budget of 0 means no limit.
    """

    def __init__(
        self, service: OperationService, *, budget: int, full_output_schemas: bool = False
    ) -> None:
        """Prepare the tools. `full_output_schemas` is as for `MethodTool`."""
        self._service = service
        self._budget = budget
        self._full_output_schemas = full_output_schemas
        self.catalog_tools: Final = CatalogTools(service, self.find)
        # Without a store this tool is not listed, and says why to a client that calls it.
        fixed: tuple[Tool, ...] = (*TOOLS, LIST_MY_OPERATIONS, *self.catalog_tools.tools)
        self._fixed = {tool.name: tool for tool in fixed}
        self._catalog = service.catalog
        self._slices = service.catalog.slices
        self._by_any_name: tuple[Mapping[str, Offer], Mapping[str, list[str]]] = ({}, {})
        self._paged: Mapping[str, Offer] = {}
        self._pages: LRUCache[tuple[_Listed, str | None], _ToolPage] = LRUCache(_MAX_PAGES)
        self._exceeding: LRUCache[_Listed, bool] = LRUCache(_MAX_PAGES)
        self._paging = asyncio.Lock()

    async def find(self, caller: Principal, name: str) -> Tool | None:
        """Return the tool with a name, or None if the caller may see no such tool.

        If the name is unknown, the search waits for backends whose services are not known yet. If
        no tool has the name, return the one tool that would have it if fewer methods were offered.
        Raises INVALID_ARGUMENT if several tools could have the name.
        """
        tool = self._fixed.get(name)
        if tool is not None:
            return tool
        # A tool that is known must not wait long for backends whose services are unknown.
        offers = await self._catalog.offers_soon(lambda: self._service.backend_names(caller))
        if name not in offers:
            offers = await self._catalog.offers(wait_for_all=True)
        # A call that only lacks scopes is refused with a challenge that names them.
        visible = await self._service.offers(caller, of=(), challenged=True)
        if name in offers:
            return self._tool_of(visible[name]) if name in visible else None
        names = await self._names(offers)
        named = [each for each in names.get(name, ()) if each in visible]
        if len(named) > 1:
            raise _ambiguous(name, named)
        return self._tool_of(visible[named[0]]) if named else None

    def _tool_of(self, offer: Offer) -> MethodTool:
        descriptions = self._service.router.descriptions
        return MethodTool(offer, self._full_output_schemas, descriptions)

    async def page(self, caller: Principal, cursor: str | None) -> _ToolPage:
        """Return a page of the tools that a caller may see, and the cursor of the next page.

        The tools of google.longrunning.Operations come first, then those of methods, by name, or
        the three tools that stand for them. If the methods that are found so far exceed the budget,
        the list does not wait for further ones, because it shows none of them.
        Raises `MCPError` (-32602) if no page starts at the cursor, for example because the
        tools have changed.
        """
        if cursor is None and self._budget and await self._exceed_so_far(caller):
            return self._instead(caller)
        offers = await self._service.offers(caller)
        latest = await self._catalog.offers(of=())
        on = () if offers is latest else tuple(each.backends for each in offers.values())
        listed = (self._backends(caller), tuple(offers), on)
        if latest is not self._paged:
            self._paged = latest
            self._pages.clear()
            self._exceeding.clear()
        async with self._paging:
            found = self._pages.get((listed, cursor))
            if found is None:
                found = self._pages[listed, cursor] = await self._page(
                    caller, listed, offers, cursor
                )
        return found

    async def changes(self, caller: Principal) -> AsyncIterator[None]:
        """Yield each time the tools that a caller may see have changed. The iterator never ends."""
        known = await self._service.offers(caller)
        while True:
            await asyncio.sleep(_INTERVAL)
            latest = await self._service.offers(caller)
            if latest is not known and latest != known:
                yield
            known = latest

    async def _names(self, offers: Mapping[str, Offer]) -> Mapping[str, list[str]]:
        """Return the names of the tools that could have a name, by that name."""
        known, by_any_name = self._by_any_name
        if known is not offers:
            by_any_name = await self._slices.run(_by_any_name(offers))
            self._by_any_name = (offers, by_any_name)
        return by_any_name

    async def _exceed(self, listed: _Listed, offers: Mapping[str, Offer]) -> bool:
        """Return whether the tools of these methods exceed the budget."""
        known = self._exceeding.get(listed, None if self._budget else False)
        if known is None:
            known = await self._slices.run(exceeds(offers.values(), self._budget))
            self._exceeding[listed] = known
        return known

    async def _exceed_so_far(self, caller: Principal) -> bool:
        """Return whether the methods that first discoveries have found exceed the budget already.

        Returns False when these discoveries have ended, or when no caller waits for them any more.
        """
        async with aclosing(self._service.offers_so_far(caller)) as growing:
            async for offers in growing:
                if await self._slices.run(exceeds(offers.values(), self._budget)):
                    return True
        return False

    def _backends(self, caller: Principal) -> _Backends:
        service = self._service
        return tuple(
            (tool.verb, service.backend_names(caller, tool.verb))
            for tool in TOOLS
            if service.views.may_ever(caller, tool.verb)
        )

    def _verb_tools(self, backends: _Backends) -> list[types.Tool]:
        wait, described = self._service.waits.default, self._service.router.descriptions
        on = dict(backends)
        tools = [tool.to_tool(on[tool.verb], wait, described) for tool in TOOLS if tool.verb in on]
        has_mine = self._service.mine.is_kept and Verb.GET in on
        return [*tools, LIST_MY_OPERATIONS.to_tool()] if has_mine else tools

    def _instead(self, caller: Principal) -> _ToolPage:
        """Return the list of tools that shows no method."""
        tools = self._verb_tools(self._backends(caller))
        return [*tools, *self.catalog_tools.listed(self._service.backend_names(caller))], None

    async def _page(
        self,
        caller: Principal,
        listed: _Listed,
        offers: Mapping[str, Offer],
        cursor: str | None,
    ) -> _ToolPage:
        backends, names, _ = listed
        exceed = await self._exceed(listed, offers)
        tools: list[types.Tool] = []
        start = 0
        if cursor is None:
            if exceed:
                return self._instead(caller)
            tools = self._verb_tools(backends)
        elif cursor in offers and not exceed:
            start = names.index(cursor) + 1
        else:
            message = "the tools have changed; call tools/list again without cursor"
            raise MCPError(types.INVALID_PARAMS, message)
        room = _PAGE_BYTES - sum(map(_size, tools))
        for index, name in enumerate(names[start:], start):
            await self._slices.run(offers[name].types.reading_comments())
            await self._slices.pause()
            tool = _tool(self._tool_of(offers[name]))
            if tool is not None:
                room -= _size(tool)
                if room < 0 and tools:
                    return tools, names[index - 1]
                tools.append(tool)
        return tools, None


def _by_any_name(offers: Mapping[str, Offer]) -> Steps[dict[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for offer in offers.values():
        yield
        for name in all_names(offer.method):
            found.setdefault(name, []).append(offer.name)
    return found


def _ambiguous(name: str, choices: Iterable[str]) -> StatusError:
    tools = ", ".join(choices)
    problem = f"several tools could be called {quote(name)}; call one of: {tools}"
    return status_error(
        Code.INVALID_ARGUMENT, problem, "AMBIGUOUS_TOOL", metadata={"tool": name, "tools": tools}
    )


def _tool(method: MethodTool) -> types.Tool | None:
    """Make the tool of a method; log a tool that cannot be made, and return None."""
    try:
        return method.tool
    except Exception:
        logger.exception(
            "tools/list omits the tool %s, because its schemas cannot be made", method.name
        )
        return None


def _size(tool: types.Tool) -> int:
    return len(orjson.dumps([tool.description, tool.input_schema, tool.output_schema]))
