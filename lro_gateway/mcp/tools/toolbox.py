"""Every tool there is: the fixed ones, then one for each method that the backends offer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

import mcp_types as types
import orjson
from mcp.shared.exceptions import MCPError

from lro_gateway.mcp.answers import Answer
from lro_gateway.mcp.tools.method_tools import MethodTool
from lro_gateway.mcp.tools.verb_tools import TOOLS, Invocation
from lro_gateway.service.catalog import Offer
from lro_gateway.service.service import OperationService

logger: Final = logging.getLogger(__name__)

_LOOK: Final = 2.0
"""Seconds between two looks at whether the methods have changed.

A look asks only backends whose services are not known yet, as those that are down.
"""


_PAGE_BYTES: Final = 512 * 1024
"""About what a page may hold: the SDK's own client refuses events of more than 1 MiB."""


class Tool(Protocol):
    """What can be called by name; `call` raises `StatusError`."""

    @property
    def name(self) -> str:
        """The tool's name."""

    @property
    def starts_tasks(self) -> bool:
        """Whether its answer's operation becomes a task for a client that follows tasks."""

    @property
    def call(self) -> Callable[[OperationService, Invocation], Awaitable[Answer]]:
        """Call it."""


class Toolbox:
    """The tools of one service. A method's schemas are made when first asked for, and kept.

    The fixed tools need no descriptors, so they work whatever the backends' state.
    """

    def __init__(self, service: OperationService) -> None:
        self._service = service
        self._fixed = {tool.name: tool for tool in TOOLS}
        self._fixed_listed = [tool.to_tool(service.backends) for tool in TOOLS]
        self._offers: Mapping[str, Offer] = {}
        self._methods: Mapping[str, MethodTool] = {}
        self._pages: list[list[types.Tool]] = []
        self._paged: Mapping[str, MethodTool] | None = None
        self._paging = asyncio.Lock()

    async def find(self, name: str) -> Tool | None:
        """Return a tool by name; a hanging backend holds up only who asks for what is unknown."""
        fixed = self._fixed.get(name)
        if fixed is not None:
            return fixed
        known = (await self._current()).get(name)
        return known if known is not None else (await self._current(settled=True)).get(name)

    async def page(self, cursor: str | None) -> tuple[list[types.Tool], str | None]:
        """Return some of the tools as `tools/list` gives them, and the cursor of the next ones.

        In an order that their names alone decide. A cursor that leads nowhere, as when the tools
        have changed in between, is refused with `MCPError`.
        """
        pages = await self._all_pages()
        starts = [None, *(page[-1].name for page in pages[:-1])]
        if cursor not in starts:
            raise MCPError(types.INVALID_PARAMS, "the tools have changed: list them from the start")
        index = starts.index(cursor)
        page = pages[index]
        return page, page[-1].name if index + 1 < len(pages) else None

    async def changes(self) -> AsyncIterator[None]:
        """Yield whenever the tools have changed, for as long as it is iterated."""
        known = await self._service.offers()
        while True:
            await asyncio.sleep(_LOOK)
            latest = await self._service.offers()
            if latest is not known:
                known = latest
                yield

    async def _current(self, *, settled: bool = False) -> Mapping[str, MethodTool]:
        offers = await self._service.offers(settled=settled)
        if offers is not self._offers:
            self._offers = offers
            self._methods = {name: MethodTool(offer) for name, offer in offers.items()}
        return self._methods

    async def _all_pages(self) -> list[list[types.Tool]]:
        """Return the pages of the tools that there are; they are made once for all who ask."""
        await self._current()
        async with self._paging:
            if self._paged is not (methods := self._methods):
                listed = [*self._fixed_listed, *await _listed(methods.values())]
                self._pages, self._paged = _pages(listed), methods
            return self._pages


async def _listed(methods: Iterable[MethodTool]) -> list[types.Tool]:
    """Make the tools of methods; one that cannot be made must not take the others with it."""
    listed = []
    for method in methods:
        try:
            listed.append(method.tool)
        except Exception:
            logger.exception("tool %s left out", method.name)
        # A backend may have a thousand methods, and other requests are waiting.
        await asyncio.sleep(0)
    return listed


def _pages(tools: Iterable[types.Tool]) -> list[list[types.Tool]]:
    """Divide tools into pages that clients can take; a tool that is larger has its own."""
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
